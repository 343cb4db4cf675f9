"""Schedule: supervision stops in the middle of Phase II (one-shot termination, HASTE, arXiv 2505.16792)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.params.stages import ArmSettings


class FirstHalf:
    """1 before step ``stop``, 0 from it on."""

    def __init__(self, stop: int) -> None:
        self.stop = stop

    def __call__(self, step: int, t: Tensor) -> Tensor:
        return torch.full_like(t, float(step < self.stop))


def build(p: ArmSettings) -> FirstHalf:
    """Half of ``arm_steps`` after the warm-up."""
    return FirstHalf(p.training.warmup_steps + p.training.arm_steps // 2)
