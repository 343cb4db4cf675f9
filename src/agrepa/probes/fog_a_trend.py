"""FoG-A along the warm-up: does the choice of layers settle before Phase I ends?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from agrepa.artifacts.files import load_tensors, write_table
from agrepa.data.dataset import Dataset
from agrepa.device import device
from agrepa.job import In, Out
from agrepa.model.ablation import fog_a
from agrepa.model.backbone import build
from agrepa.probes.measurement import Place, measure
from agrepa.tokens.sequence import vocabularies

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.params.stages import FogATrendSettings


def run(p: FogATrendSettings, *, snapshots: In, manifest: In, statistics: In, mel: In, tokens: In, out: Out) -> None:
    """FoG-A of every warm-up snapshot on ``trend_clips`` clips a domain: rows (step, domain, layer, score)."""
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens)
    backbone = (
        build(p.model, p.mel.bands, vocabularies(p.tokens, p.domains), noise_scale=p.flow.noise_scale)
        .eval()
        .to(device(p.training.accelerator))
    )

    def score(place: Place) -> Tensor:
        batch = place.batch
        return fog_a(backbone, place.x, place.t, batch.condition, batch.mask, p.probe.norm, p.probe.denominator)

    rows = []
    for path in sorted(snapshots.glob("*.safetensors"), key=lambda file: int(file.stem)):
        backbone.load_state_dict(load_tensors(path))
        for domain, scores in measure(p, dataset, p.probe.trend_clips, p.probe.times, "FoG-A", score).items():
            rows += [(int(path.stem), domain, layer, float(v)) for layer, v in enumerate(scores.values.mean((1, 2)), 1)]
    write_table(out, pd.DataFrame(rows, columns=["step", "domain", "layer", "score"]))
