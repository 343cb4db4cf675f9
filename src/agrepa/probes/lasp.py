"""LASP: what a layer knows. cos(P(norm(pool_t h_l)), T(x)) with one frozen projection P, the BiT-C head (Eq. 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agrepa.alignment.bit_c import BiTC
from agrepa.data.dataset import Dataset
from agrepa.device import device
from agrepa.job import In, Ins, Out
from agrepa.model.backbone import pool
from agrepa.probes.measurement import Place, frozen, measure, write
from agrepa.training.checkpoint import load_average

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import LaspSettings


@torch.no_grad()
def lasp(backbone: Backbone, bit_c: BiTC, place: Place) -> Tensor:
    """LASP of every layer on the clips of one place (of one domain), ``[L, B]``."""
    states: dict[int, Tensor] = {}
    batch = place.batch
    backbone(place.x, place.t, batch.condition, batch.mask, states=states)
    teacher = batch.teacher_vectors[place.domain]
    return torch.stack(
        [bit_c.score(pool(states[layer], batch.mask), teacher, place.domain) for layer in range(1, backbone.depth + 1)]
    )


def run(p: LaspSettings, *, warmup: In, manifest: In, statistics: In, mel: In, tokens: In, targets: Ins, out: Out) -> None:
    """LASP of the frozen warm-up checkpoint: Cos-SEM on speech clips, Cos-EVT on audio clips."""
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens, teachers=p.teachers, targets=targets)
    backbone, probe = frozen(p, warmup), p.probe
    bit_c = load_average(warmup, BiTC(backbone.width, dataset.teacher_widths()), "bit_c.")
    bit_c = bit_c.to(device(p.training.accelerator))

    scores = measure(p, dataset, probe.clips, probe.times, "LASP", lambda place: lasp(backbone, bit_c, place))
    definition = "cosine of the projected layer and the teacher, frozen BiT-C projection"
    write(out, "lasp", definition, probe.times, scores, p.bootstrap, p.seed)
