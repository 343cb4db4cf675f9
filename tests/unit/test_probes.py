"""FoG-A against its definition, gradient norm against autograd, and the summary of scores."""

import numpy as np
import pytest
import torch

from agrepa.flow.path import flow_matching_loss, velocity
from agrepa.probes.fog_a import fog_a, relative_change
from agrepa.probes.gradient_norm import gradient_norm
from agrepa.probes.grid import Place, Scores, summarise
from agrepa.training.batches import Batch


@pytest.mark.parametrize("norm", ["l2", "squared_l2"])
def test_prefix_reuse_equals_the_naive_definition(model, inputs, norm):
    x, t, c, mask = inputs
    fast = fog_a(model, x, t, c, mask, norm)
    for k in range(5):
        gates = torch.ones(5)
        gates[k] = 0
        with torch.no_grad():
            full, gated = model(x, t, c, mask), model(x, t, c, mask, gates=gates)
        for i, length in enumerate([12, 9, 5]):
            change, size = (gated - full)[i, :length].norm(), full[i, :length].norm()
            naive = change / size if norm == "l2" else change**2 / size**2
            assert float(fast[k, i]) == pytest.approx(float(naive), rel=1e-4)


def test_fog_a_runs_at_most_six_tenths_of_the_blocks_of_the_definition(model, inputs):
    calls = []
    for block in model.blocks:
        block.register_forward_hook(lambda *_: calls.append(1))
    fog_a(model, *inputs)
    depth = len(model.blocks)
    assert len(calls) == depth * (depth + 1) // 2
    assert len(calls) <= 0.6 * depth * (depth + 1)


def test_relative_change_by_hand():
    full, gated = torch.tensor([[[3.0, 4.0], [9.0, 9.0]]]), torch.tensor([[[3.0, 1.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, False]])
    assert float(relative_change(gated, full, mask, "l2")) == pytest.approx(3 / 5)
    assert float(relative_change(gated, full, mask, "squared_l2")) == pytest.approx(9 / 25)


def test_gradient_norm_equals_one_backward_a_clip(model, inputs):
    x, t, c, mask = inputs
    eps, mel = torch.randn_like(x), torch.randn_like(x)
    batch = Batch(["a", "b", "c"], mel, mask, c, torch.zeros(3), {})
    scores = gradient_norm(model, Place("speech", 0, batch, eps, x, t))
    for i in range(3):
        model.zero_grad()
        flow_matching_loss(model(x, t, c, mask), velocity(mel, eps), mask)[i].backward()
        for layer, block in enumerate(model.blocks):
            expected = torch.cat([w.grad.flatten() for w in block.parameters()]).norm()
            assert float(scores[layer, i]) == pytest.approx(float(expected), rel=1e-4)


def test_summary_ranks_layers_and_says_how_stable_the_top_is():
    rng = np.random.default_rng(0)
    centres = np.array([5.0, 1.0, 4.0, 3.0, 0.5])
    values = centres[:, None, None] + 0.01 * rng.standard_normal((5, 2, 30))
    result = summarise(Scores(values, ["x"] * 30), [0.2, 0.8], 200, 0)
    assert result["ranking"] == [1, 3, 4, 2, 5]
    assert result["top_k_stability"] == [1.0, 0.0, 1.0, 1.0, 0.0]
    assert np.allclose(result["score"], values.mean((1, 2)))
    assert all(low <= score <= high for low, score, high in zip(result["low"], result["score"], result["high"], strict=True))
    assert np.shape(result["by_time"]) == (5, 2)
    # The interval is that of a mean of 30 clips: about +- 1.96 s / sqrt(30).
    width = np.array(result["high"]) - np.array(result["low"])
    expected = 2 * 1.96 * values.mean(1).std(1) / np.sqrt(30)
    assert np.allclose(width, expected, rtol=0.3)
