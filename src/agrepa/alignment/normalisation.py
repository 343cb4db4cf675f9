"""Spatial normalisation over time: less a part of what all frames of a clip share (iREPA, arXiv 2512.10794)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PART = 0.6  # a, of the clip's mean
EPSILON = 1e-6


def standardised(z: Tensor, mask: Tensor) -> Tensor:
    """(z - a mean_T z) / (std_T z + e) of z ``[B, T, D]`` in each channel, over the frames where ``mask`` ``[B, T]`` is True.

    The others come out as zeros. The deviation is the unbiased one, and 0 for a clip of one frame.
    """
    valid, count = mask.unsqueeze(-1), mask.sum(1)[:, None, None]
    mean = (z * valid).sum(1, keepdim=True) / count
    variance = ((z - mean) * valid).square().sum(1, keepdim=True) / (count - 1).clamp(min=1)
    return (z - PART * mean) / (variance.sqrt() + EPSILON) * valid
