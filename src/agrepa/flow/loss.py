"""The regression of the velocity."""

from __future__ import annotations

from torch import Tensor


def flow_matching_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """E ||v - u||^2 for each clip: mean over its valid frames and all bands, ``[B]``.

    Args:
        predicted, target: ``[B, T, M]``.
        mask: True at valid frames, ``[B, T]``; every clip has at least one.
    """
    error = (predicted - target).square().mean(-1) * mask
    return error.sum(1) / mask.sum(1)
