"""What the probes of the frozen warm-up model look at."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from agrepa.params.base import Count, Filled, Inside, Strict


class Grid(Strict):
    """Validation clips of each domain and times t on the path.

    Both ends of the path are left out: x_0 holds nothing of the clip, x_1 no noise, and what is divided by t or by 1 - t
    has no value there.
    """

    clips: Count
    times: Filled[Inside]


class FogA(Grid):
    """What a layer's change of the velocity is divided by: the velocity, or of it what the network made.

    The two differ where the model is preconditioned and part of the velocity is there without the network.
    """

    norm: Literal["l2", "squared_l2"]
    denominator: Literal["velocity", "network"]
    trend_clips: Count


class Probes(Strict):
    """One entry for each probe, by its name; an entry of a probe that is not named here is a Grid."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Grid]

    bootstrap: Count
    fog_a: FogA
    lasp: Grid
    gradient_norm: Grid

    def grids(self) -> dict[str, Grid]:
        """Probe -> its entry."""
        return {name: value for name, value in self if isinstance(value, Grid)}
