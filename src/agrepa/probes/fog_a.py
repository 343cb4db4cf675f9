"""FoG-A of the frozen warm-up model: what a layer is used for (Eq. 7-9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agrepa.data.dataset import Dataset
from agrepa.job import In, Out
from agrepa.model.ablation import fog_a
from agrepa.probes.measurement import Place, frozen, measure, write

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.params.stages import FogASettings


def run(p: FogASettings, *, warmup: In, manifest: In, statistics: In, mel: In, tokens: In, out: Out) -> None:
    """FoG-A of the frozen warm-up checkpoint: how much the velocity changes without a layer."""
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens)
    backbone, probe = frozen(p, warmup), p.probe

    def score(place: Place) -> Tensor:
        batch = place.batch
        return fog_a(backbone, place.x, place.t, batch.condition, batch.mask, probe.norm, probe.denominator)

    scores = measure(p, dataset, probe.clips, probe.times, "FoG-A", score)
    size = {"velocity": "", "network": ", over the network's own part of it"}[probe.denominator]
    definition = f"relative change of the velocity, {probe.norm} norm{size}"
    write(out, "fog_a", definition, probe.times, scores, p.bootstrap, p.seed)
