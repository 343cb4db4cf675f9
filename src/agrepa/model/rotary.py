"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864): attention sees how far apart two frames are, not where."""

from __future__ import annotations

import torch
from torch import Tensor


def angles(frames: int, channels: int, device: torch.device, base: float = 10_000.0) -> Tensor:
    """Angle of frame n in plane i, n base^(-2i / channels): ``[frames, channels / 2]``."""
    frequency = base ** (-torch.arange(0, channels, 2, device=device) / channels)
    return torch.arange(frames, device=device)[:, None] * frequency


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Turn the planes (x_i, x_{i + C/2}) of x ``[..., T, C]`` by ``angle`` ``[T, C / 2]``.

    The inner product of two rotated vectors depends on their frames by the difference alone.
    """
    first, second = x.chunk(2, -1)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
