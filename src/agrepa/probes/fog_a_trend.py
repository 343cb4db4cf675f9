"""FoG-A along the warm-up: does the choice of layers settle before Phase I ends?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from agrepa.artifacts.files import load_tensors, write_table
from agrepa.data.dataset import Dataset
from agrepa.device import device
from agrepa.job import In, Out, Wildcard
from agrepa.model.ablation import fog_a
from agrepa.model.backbone import build
from agrepa.probes.measurement import Place, measure, rank_correlation
from agrepa.tokens.sequence import vocabularies

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.params.stages import FogATrendSettings


def table(measured: dict[int, dict[str, np.ndarray]]) -> pd.DataFrame:
    """One row a (step, domain, layer) with its score.

    ``rank_correlation`` is Spearman's over layers with the snapshot before, the same for all layers of a (step, domain). It is
    NaN at the first snapshot, and beside one whose layers all score the same.

    Args:
        measured: step -> domain -> score of every layer ``[L]``, steps in their order.
    """
    rows: list[tuple[int, str, int, float, float]] = []
    before: dict[str, np.ndarray] = {}
    for step, scores in measured.items():
        for domain, score in scores.items():
            agreement = float(rank_correlation(before[domain], score)) if domain in before else float("nan")
            rows += [(step, domain, layer, float(value), agreement) for layer, value in enumerate(score, 1)]
        before = scores
    return pd.DataFrame(rows, columns=["step", "domain", "layer", "score", "rank_correlation"])


def run(
    p: FogATrendSettings,
    *,
    kind: Wildcard,
    seed: Wildcard,
    snapshots: In,
    manifest: In,
    statistics: In,
    mel: In,
    tokens: In,
    out: Out,
) -> None:
    """FoG-A of every warm-up snapshot on ``trend_clips`` clips a domain: (step, domain, layer, score, rank_correlation, seed)."""
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens)
    backbone = (
        build(p.model, p.mel.bands, vocabularies(p.tokens, p.domains), noise_scale=p.flow.noise_scale)
        .eval()
        .to(device(p.training.accelerator))
    )

    def score(place: Place) -> Tensor:
        batch = place.batch
        return fog_a(backbone, place.x, place.t, batch.condition, batch.mask, p.probe.norm, p.probe.denominator)

    measured: dict[int, dict[str, np.ndarray]] = {}
    for path in sorted(snapshots.glob("*.safetensors"), key=lambda file: int(file.stem)):
        backbone.load_state_dict(load_tensors(path))
        found = measure(p, dataset, p.probe.trend_clips, p.probe.trend_times, "FoG-A", score)
        measured[int(path.stem)] = {domain: scores.values.mean((1, 2)) for domain, scores in found.items()}
    write_table(out, table(measured).assign(seed=int(seed)))
