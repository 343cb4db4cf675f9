"""FoG-A of the frozen warm-up model: what a layer is used for (Eq. 7-9), beside the controls of ``agrepa.probes.controls``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agrepa.data.dataset import Dataset
from agrepa.job import In, Out, Wildcard
from agrepa.model.ablation import fog_a
from agrepa.probes.controls import compare, mean_of_frames, update_size
from agrepa.probes.measurement import Place, Scores, frozen, measure, write

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.params.stages import FogASettings


def run(
    p: FogASettings,
    *,
    kind: Wildcard,
    seed: Wildcard,
    warmup: In,
    manifest: In,
    statistics: In,
    mel: In,
    tokens: In,
    out: Out,
) -> None:
    """FoG-A of the frozen warm-up checkpoint: how much the velocity changes without a layer; controls at ``control_times``."""
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens)
    backbone, probe = frozen(p, warmup), p.probe

    def ablation(place: Place, mean: bool) -> Tensor:
        batch = place.batch
        replace = mean_of_frames(batch.mask) if mean else None
        return fog_a(backbone, place.x, place.t, batch.condition, batch.mask, probe.norm, probe.denominator, replace)

    def size(place: Place) -> Tensor:
        return update_size(backbone, place.x, place.t, place.batch.condition, place.batch.mask)

    scores = measure(p, dataset, probe.clips, probe.times, "FoG-A", partial(ablation, mean=False))
    sizes = measure(p, dataset, probe.clips, probe.control_times, "update size", size)
    means = measure(p, dataset, probe.clips, probe.control_times, "mean-ablation", partial(ablation, mean=True))
    at = [probe.times.index(time) for time in probe.control_times]
    more = {}
    for domain, found in scores.items():
        same = {
            "fog_a": Scores(found.values[:, at], found.families),
            "update_size": sizes[domain],
            "mean_ablation": means[domain],
        }
        more[domain] = {"controls": compare(same, probe.control_times, p.bootstrap, p.seed)}
    over = {"velocity": "", "network": ", over the network's own part of it"}[probe.denominator]
    definition = f"relative change of the velocity, {probe.norm} norm{over}"
    write(out, "fog_a", definition, int(seed), probe.times, scores, p.bootstrap, p.seed, more)
