"""Flow matching: the linear path from noise to data and its velocity."""

from __future__ import annotations

from torch import Tensor


def interpolate(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 - t) eps + t x, ``[B, T, M]``.

    Args:
        x: data ``[B, T, M]``.
        noise: eps ``[B, T, M]``, already scaled.
        t: times in [0, 1], ``[B]``.
    """
    t = t[:, None, None]
    return (1 - t) * noise + t * x


def velocity(x: Tensor, noise: Tensor) -> Tensor:
    """u = x - eps, the derivative of ``interpolate`` in t, ``[B, T, M]``."""
    return x - noise
