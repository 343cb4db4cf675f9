"""Schedule: weight 1 at every step and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.alignment.protocols import Schedule
    from agrepa.params.stages import ArmSettings


def constant(step: int, t: Tensor) -> Tensor:
    """1, ``[B]``."""
    return torch.ones_like(t)


def build(p: ArmSettings) -> Schedule:
    """The constant schedule; it has no settings."""
    return constant
