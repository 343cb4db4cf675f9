"""Sampling: Euler integration of the velocity from noise (t = 0) to data (t = 1), with sway and guidance."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor


def sway(t: Tensor, coefficient: float) -> Tensor:
    """t' = t + s (cos(pi t / 2) - 1 + t), sway sampling (Chen et al. 2024, arXiv 2410.06885); s < 0 steps finely near t = 0."""
    return t + coefficient * (torch.cos(torch.pi * t / 2) - 1 + t)


def time_grid(steps: int, coefficient: float) -> Tensor:
    """``steps + 1`` increasing times from exactly 0 to exactly 1, so that Euler takes ``steps`` steps."""
    grid = sway(torch.linspace(0, 1, steps + 1, dtype=torch.float64), coefficient)
    grid[0], grid[-1] = 0.0, 1.0
    return grid.float()


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance v_u + w (v_c - v_u): w = 1 is the conditional model, w = 0 the unconditional one."""
    return unconditional + scale * (conditional - unconditional)


def euler(field: Callable[[Tensor, Tensor], Tensor], start: Tensor, grid: Tensor) -> Tensor:
    """Integrate dx/dt = field(x, t) over ``grid`` with the explicit Euler method.

    Args:
        field: maps x ``[B, T, M]`` and a scalar t to the velocity ``[B, T, M]``.
        start: x at ``grid[0]``.
        grid: increasing times ``[N + 1]``.
    """
    x = start
    for now, after in pairwise(grid):
        x = x + (after - now) * field(x, now)
    return x
