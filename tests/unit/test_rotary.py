"""Positions: rotary attention sees distances, an absolute sinusoid sees places."""

import pytest
import torch

from agrepa.model.dit import Block, DiT
from agrepa.model.rotary import angles, rotate
from agrepa.params.model import Model


def test_rotation_equals_complex_multiplication():
    torch.manual_seed(0)
    x, angle = torch.randn(2, 7, 6), angles(7, 6, torch.device("cpu"))
    turned = torch.complex(x[..., :3], x[..., 3:]) * torch.exp(1j * angle)
    assert torch.allclose(rotate(x, angle), torch.cat([turned.real, turned.imag], -1), atol=1e-6)
    assert torch.allclose(angle[5], 5 * torch.tensor([1.0, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3)]))


def test_inner_products_depend_on_the_distance_alone():
    x, y = torch.randn(8), torch.randn(8)
    angle = angles(40, 8, torch.device("cpu"))
    products = rotate(x.expand(40, 8), angle) @ rotate(y.expand(40, 8), angle).T
    for distance in (0, 3, 17):
        along = products.diagonal(distance)
        assert torch.allclose(along, along[0].expand(len(along)), atol=1e-4)
    assert torch.allclose(products[0, 0], x @ y, atol=1e-5)


@pytest.mark.parametrize("rotary", [True, False])
def test_attention_without_positions_knows_no_order_and_with_them_does(rotary):
    torch.manual_seed(1)
    block, x = Block(8, 2, 2, 0.0, rotary), torch.randn(1, 6, 8)
    mask, swapped = torch.ones(1, 6, dtype=torch.bool), x[:, [1, 0, 2, 3, 4, 5]]
    same = torch.allclose(block.attend(x, mask)[:, 5], block.attend(swapped, mask)[:, 5], atol=1e-6)
    assert same is not rotary


def test_a_place_counts_only_where_positions_are_absolute(sizes, make_condition):
    """Frames far from both ends, of a clip that is the same everywhere, look alike unless their places are told."""
    for positions, alike in (("rotary", True), ("absolute", False)):
        torch.manual_seed(2)
        model = DiT(Model.model_validate(sizes | {"positions": positions}), 10, [11, 7]).eval()
        x = torch.ones(1, 30, 10)
        c = make_condition([30], [1], 30)
        h, _, _ = model.embed(x, torch.tensor([0.5]), c, torch.ones(1, 30, dtype=torch.bool))
        assert torch.allclose(h[0, 14], h[0, 15], atol=1e-5) is alike
