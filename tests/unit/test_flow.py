"""Path, loss and sampler against closed forms and torchdiffeq."""

import math

import pytest
import torch
from torchdiffeq import odeint

from agrepa.flow import path, sampler
from agrepa.flow.loss import flow_matching_loss
from agrepa.flow.preconditioning import coefficients
from agrepa.seeding import generator


def test_path_ends_at_noise_and_data_and_moves_with_the_velocity():
    x, eps = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    assert torch.equal(path.interpolate(x, eps, torch.zeros(3)), eps)
    assert torch.equal(path.interpolate(x, eps, torch.ones(3)), x)
    t, dt = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64), 1e-6
    x, eps = x.double(), eps.double()
    slope = (path.interpolate(x, eps, t + dt) - path.interpolate(x, eps, t)) / dt
    assert torch.allclose(slope, path.velocity(x, eps), atol=1e-8)


def test_loss_is_the_mean_square_over_valid_frames_only():
    predicted, target = torch.zeros(2, 4, 3), torch.ones(2, 4, 3)
    predicted[0, 2:] = 1e6
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    assert flow_matching_loss(predicted, target, mask).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_preconditioning_is_the_regression_of_the_velocity_on_x_t_and_leaves_unit_variance(scale):
    torch.manual_seed(0)
    x, eps = torch.randn(1, 100_000, dtype=torch.float64), scale * torch.randn(1, 100_000, dtype=torch.float64)
    for t in (0.0, 0.2, 0.5, 0.9, 1.0):
        times = torch.tensor([t], dtype=torch.float64)
        x_t, u = path.interpolate(x[..., None], eps[..., None], times)[..., 0], path.velocity(x, eps)
        skip, out = coefficients(times, scale)
        assert float(skip) == pytest.approx(float((u * x_t).mean() / x_t.square().mean()), abs=0.02)
        assert float(((u - skip * x_t) / out).std()) == pytest.approx(1, rel=0.01)


def test_keyed_generators_depend_on_the_key_alone():
    first = torch.randn(4, generator=generator(0, "noise", "clip"))
    torch.manual_seed(5)
    assert torch.equal(first, torch.randn(4, generator=generator(0, "noise", "clip")))
    assert not torch.equal(first, torch.randn(4, generator=generator(0, "noise", "clip2")))
    assert not torch.equal(first, torch.randn(4, generator=generator(0, "noiseclip")))


@pytest.mark.parametrize("coefficient", [-1.0, 0.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 16, 32])
def test_grid_takes_exactly_n_steps_from_0_to_1(steps, coefficient):
    grid = sampler.time_grid(steps, coefficient)
    calls = []
    sampler.euler(lambda x, t: calls.append(float(t)) or x, torch.zeros(1), grid)
    assert len(calls) == steps
    assert (grid[0], grid[-1]) == (0.0, 1.0)
    assert (grid.diff() > 0).all()


def test_sway_matches_its_formula_and_crowds_the_start():
    grid = sampler.time_grid(8, -1.0)
    expected = [1 - math.cos(math.pi * i / 16) for i in range(9)]
    assert grid.tolist() == pytest.approx(expected, abs=1e-6)
    assert grid[1] < 1 / 8


def test_euler_equals_torchdiffeq_on_the_same_grid():
    matrix = torch.randn(6, 6, dtype=torch.float64) * 0.3
    start, grid = torch.randn(2, 5, 6, dtype=torch.float64), sampler.time_grid(16, -1.0).double()

    def field(x, t):
        return x @ matrix + t

    ours = sampler.euler(field, start, grid)
    theirs = odeint(lambda t, x: field(x, t), start, grid, method="euler")[-1]
    assert torch.allclose(ours, theirs, atol=1e-12)


def test_euler_is_exact_on_the_straight_path_and_converges_to_dopri5():
    x, eps = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert torch.allclose(sampler.euler(lambda _x, _t: path.velocity(x, eps), eps, sampler.time_grid(3, 0.0)), x, atol=1e-6)
    torch.manual_seed(0)
    start = torch.randn(4, dtype=torch.float64)
    exact = odeint(lambda t, y: -y * (1 + t), start, torch.tensor([0.0, 1.0], dtype=torch.float64), method="dopri5")[-1]
    errors = [
        (sampler.euler(lambda y, t: -y * (1 + t), start, sampler.time_grid(n, 0.0).double()) - exact).abs().max()
        for n in (50, 100)
    ]
    assert float(errors[1]) == pytest.approx(float(errors[0]) / 2, rel=0.05)


def test_guidance_at_one_and_zero():
    conditional, unconditional = torch.randn(3), torch.randn(3)
    assert torch.allclose(sampler.guide(conditional, unconditional, 1.0), conditional)
    assert torch.equal(sampler.guide(conditional, unconditional, 0.0), unconditional)
