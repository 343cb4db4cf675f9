"""Flow matching: the linear path from noise to data, its velocity, and the masked regression loss."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(*key: object) -> torch.Generator:
    """A CPU random generator that depends on ``key`` alone, e.g. ``(seed, "noise", clip)``.

    Keyed streams make noise independent of batching, of the order of calls and of resuming.
    """
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def point(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 - t) eps + t x.

    Args:
        x: data ``[B, T, M]``.
        noise: eps ``[B, T, M]``, already scaled.
        t: times in [0, 1], ``[B]``.
    """
    t = t[:, None, None]
    return (1 - t) * noise + t * x


def velocity(x: Tensor, noise: Tensor) -> Tensor:
    """u = x - eps, the derivative of ``point`` in t, ``[B, T, M]``."""
    return x - noise


def flow_matching_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """E ||v - u||^2 for each clip: mean over its valid frames and all bands, ``[B]``.

    Args:
        predicted, target: ``[B, T, M]``.
        mask: True at valid frames, ``[B, T]``; every clip has at least one.
    """
    error = (predicted - target).square().mean(-1) * mask
    return error.sum(1) / mask.sum(1)
