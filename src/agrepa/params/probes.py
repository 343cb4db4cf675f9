"""What the probes of the frozen warm-up model look at."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from agrepa.params.base import Count, Filled, Fraction, Inside, Strict


class Grid(Strict):
    """Validation clips of each domain and times t on the path.

    Both ends of the path are left out: x_0 holds nothing of the clip, x_1 no noise, and what is divided by t or by 1 - t
    has no value there.
    """

    clips: Count
    times: Filled[Inside]


class FogA(Grid):
    """FoG-A: how it is taken, where its controls look, and where and when its trend along the warm-up.

    Attributes:
        denominator: what a layer's change of the velocity is divided by: the velocity, or of it what the network made. The two
            differ where the model is preconditioned and part of the velocity is there without the network.
        control_times: those of ``times`` at which the controls are measured, on the same clips.
        trend_clips, trend_times: the clips and times of the trend, which measures every snapshot.
        settled: rank correlation between the last two snapshots from which on a trend counts as settled.
    """

    norm: Literal["l2", "squared_l2"]
    denominator: Literal["velocity", "network"]
    control_times: Filled[Inside]
    trend_clips: Count
    trend_times: Filled[Inside]
    settled: Fraction


class Probes(Strict):
    """One entry for each probe, by its name; an entry of a probe that is not named here is a Grid.

    ``fog_a_released`` looks where the paper's released code does, and is taken where an arm follows it.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Grid]

    bootstrap: Count
    fog_a: FogA
    lasp: Grid
    gradient_norm: Grid
    fog_a_released: Grid = Grid(clips=1, times=[0.8])

    def grids(self) -> dict[str, Grid]:
        """Probe -> its entry."""
        return {name: value for name, value in self if isinstance(value, Grid)}
