"""Schedule: supervision leans towards noise, where little of the clip is there to be read from x_t."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.alignment.protocols import Schedule
    from agrepa.params.stages import ArmSettings


def noise_biased(step: int, t: Tensor) -> Tensor:
    """2 (1 - t), ``[B]``: 2 at the noise, 0 at the clip, and 1 in the mean over uniform t.

    It is as if t were drawn with that density for the alignment alone: every arm keeps its draws.
    """
    return 2 * (1 - t)


def build(p: ArmSettings) -> Schedule:
    """The schedule; it has no settings."""
    return noise_biased
