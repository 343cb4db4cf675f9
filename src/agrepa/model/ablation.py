"""FoG-A, forward-only gate ablation: how much the predicted velocity changes when one layer is gated off (Eq. 7-9).

FoG-A_k = E_{x, t, eps} ||v^{\\k} - v|| / (||v|| + e), where v^{\\k} is the velocity with m_k = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agrepa.model.backbone import Backbone

if TYPE_CHECKING:
    from agrepa.model.conditioning import Condition

EPSILON = 1e-8


def relative_change(gated: Tensor, full: Tensor, mask: Tensor, norm: str, given: Tensor | None = None) -> Tensor:
    """||v^{\\k} - v|| / (||v|| + e) of each clip over its valid frames, ``[B]``.

    Args:
        gated, full: velocities ``[B, T, M]``.
        mask: ``[B, T]``, True at valid frames.
        norm: "l2", or "squared_l2" for the squared norms in both places.
        given: what is taken from v in the denominator, ``[B, T, M]``.
    """
    valid = mask.unsqueeze(-1)
    change = ((gated - full) * valid).square().sum((1, 2))
    size = ((full if given is None else full - given) * valid).square().sum((1, 2))
    return change.sqrt() / (size.sqrt() + EPSILON) if norm == "l2" else change / (size + EPSILON)


@torch.no_grad()
def fog_a(
    backbone: Backbone,
    x: Tensor,
    t: Tensor,
    condition: Condition,
    mask: Tensor,
    norm: str = "l2",
    denominator: str = "velocity",
    replace: Callable[[Tensor], Tensor] | None = None,
    whole: bool = False,
) -> Tensor:
    """FoG-A of every layer on one batch, ``[L, B]``.

    Args:
        backbone: in eval mode, unless ``whole``.
        x: x_t ``[B, T, M]``; t ``[B]``; mask ``[B, T]``.
        denominator: "velocity", or "network" for the part of it that the network made: of v = c_skip x_t + c_out F the c_out F,
            so that the ratio is ||F^{\\k} - F|| / ||F||.
        replace: gives what the layer adds instead of f_l, of f_l ``[B, T, D]``; when absent it adds nothing, which is FoG-A.
        whole: run the whole network for every layer, as the definition has it, so that in train mode each run has dropouts of its
            own; a backbone's shortcut has those of the layers below a gate in common.
    """
    inputs = (x, t, condition, mask, replace)
    velocities = Backbone.ablated(backbone, *inputs) if whole else backbone.ablated(*inputs)
    full = next(velocities)
    given = backbone.given(x, t) if denominator == "network" else None
    return torch.stack([relative_change(gated, full, mask, norm, given) for gated in velocities])
