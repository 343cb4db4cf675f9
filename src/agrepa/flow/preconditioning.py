"""Preconditioning of the velocity: the best linear guess from x_t is free, and a network only adds what it knows beyond.

For data of unit variance and noise of deviation s, u = x - eps and x_t = (1 - t) eps + t x have covariance t - (1 - t) s^2, and
x_t has variance t^2 + (1 - t)^2 s^2. So E[u | x_t] = c_skip x_t under Gaussians, and what is left has deviation
c_out = s / sqrt(t^2 + (1 - t)^2 s^2): with v = c_skip x_t + c_out F, F is to have unit variance at every t (Karras et al. 2022,
arXiv 2206.00364, for this path).
"""

from __future__ import annotations

from torch import Tensor


def coefficients(t: Tensor, noise_scale: float) -> tuple[Tensor, Tensor]:
    """c_skip and c_out, ``[B]`` each, of t ``[B]`` in [0, 1] and s > 0."""
    variance = t.square() + (1 - t).square() * noise_scale**2
    return (t - (1 - t) * noise_scale**2) / variance, noise_scale / variance.sqrt()
