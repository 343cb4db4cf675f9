"""LASP: what a layer knows. cos(P(norm(pool_t h_l)), T(x)) with one frozen projection P, the BiT-C head (Eq. 6)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import torch

from agrepa.model.dit import pool
from agrepa.probes.grid import frozen_objective, measure, write
from agrepa.training.batches import Clips, Sources
from agrepa.training.objective import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.params import Experiment
    from agrepa.probes.grid import Place


@torch.no_grad()
def lasp(objective: Objective, place: Place) -> Tensor:
    """LASP of every layer on the clips of one place (of one domain), ``[L, B]``."""
    states: dict[int, Tensor] = {}
    batch = place.batch
    objective.dit(place.x, place.t, batch.condition, batch.mask, states=states)
    teacher = batch.teachers[place.domain]
    return torch.stack(
        [objective.bit_c.score(pool(states[layer], batch.mask), teacher, place.domain) for layer in range(1, len(states))]
    )


def run(p: Experiment, warmup: Path, out: Path, **sources: Unpack[Sources]) -> None:
    """LASP of the frozen warm-up checkpoint: Cos-SEM on speech clips, Cos-EVT on audio clips."""
    clips = Clips(p, sources)
    objective = frozen_objective(p, warmup, clips)
    settings = p.probes.lasp
    scores = measure(p, clips, settings.clips, settings.times, "LASP", lambda place: lasp(objective, place))
    write(p, out, "lasp", "cosine of the projected layer and the teacher, frozen BiT-C projection", settings.times, scores)
