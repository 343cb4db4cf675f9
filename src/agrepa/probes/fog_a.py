"""FoG-A, forward-only gate ablation: how much the predicted velocity changes when one layer is gated off (Eq. 7-9).

FoG-A_k = E_{x, t, eps} ||v^{\\k} - v|| / (||v|| + e), where v^{\\k} is the velocity with m_k = 0.

Layers below the gate are not changed by it, so they are run once and their states reused: L (L + 1) / 2 block evaluations
for all L layers instead of the L (L + 1) of the definition, with the same result.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import pandas as pd
import torch
from torch import Tensor

from agrepa.artifacts import load_tensors, write_table
from agrepa.device import device
from agrepa.model.conditioning import Condition
from agrepa.model.dit import DiT
from agrepa.probes.grid import Place, Scores, frozen_objective, measure, write
from agrepa.tokens.sequence import vocabularies
from agrepa.training.batches import Clips, Sources

if TYPE_CHECKING:
    from agrepa.params import Experiment

EPSILON = 1e-8


def relative_change(gated: Tensor, full: Tensor, mask: Tensor, norm: str) -> Tensor:
    """||v^{\\k} - v|| / (||v|| + e) of each clip over its valid frames, ``[B]``.

    Args:
        gated, full: velocities ``[B, T, M]``.
        mask: ``[B, T]``, True at valid frames.
        norm: "l2", or "squared_l2" for the squared norms in both places.
    """
    valid = mask.unsqueeze(-1)
    change = ((gated - full) * valid).square().sum((1, 2))
    size = (full * valid).square().sum((1, 2))
    return change.sqrt() / (size.sqrt() + EPSILON) if norm == "l2" else change / (size + EPSILON)


@torch.no_grad()
def fog_a(model: DiT, x: Tensor, t: Tensor, condition: Condition, mask: Tensor, norm: str = "l2") -> Tensor:
    """FoG-A of every layer on one batch, ``[L, B]``.

    Args:
        model: in eval mode. Anything with ``embed``, ``blocks`` (residual functions of (h, c, mask)) and ``readout`` will do.
        x: x_t ``[B, T, M]``; t ``[B]``; mask ``[B, T]``.
    """
    h, c, _ = model.embed(x, t, condition, mask)
    states = [h]
    for block in model.blocks:
        states.append(states[-1] + block(states[-1], c, mask))
    full = model.readout(states[-1], c)
    changes = []
    for k in range(len(model.blocks)):
        h = states[k]
        for block in model.blocks[k + 1 :]:
            h = h + block(h, c, mask)
        changes.append(relative_change(model.readout(h, c), full, mask, norm))
    return torch.stack(changes)


def scores_of(p: Experiment, model: DiT, clips: Clips, count: int) -> dict[str, Scores]:
    """FoG-A on ``count`` validation clips a domain over the grid of t."""
    settings = p.probes.fog_a

    def score(place: Place) -> Tensor:
        return fog_a(model, place.x, place.t, place.batch.condition, place.batch.mask, settings.norm)

    return measure(p, clips, count, settings.times, "FoG-A", score)


def trend(p: Experiment, snapshots: Path, out: Path, **sources: Unpack[Sources]) -> None:
    """FoG-A of every warm-up snapshot on ``trend_clips`` clips a domain: rows (step, domain, layer, score)."""
    clips = Clips(p, sources)
    model = DiT(p.model, p.mel.bands, vocabularies(p.tokens)).eval().to(device(p.training.accelerator))
    rows = []
    for path in sorted(snapshots.glob("*.safetensors"), key=lambda file: int(file.stem)):
        model.load_state_dict(load_tensors(path))
        for domain, scores in scores_of(p, model, clips, p.probes.fog_a.trend_clips).items():
            rows += [(int(path.stem), domain, layer, float(v)) for layer, v in enumerate(scores.values.mean((1, 2)), 1)]
    write_table(out, pd.DataFrame(rows, columns=["step", "domain", "layer", "score"]))


def run(p: Experiment, warmup: Path, out: Path, **sources: Unpack[Sources]) -> None:
    """FoG-A of the frozen warm-up checkpoint."""
    clips = Clips(p, sources)
    settings = p.probes.fog_a
    scores = scores_of(p, frozen_objective(p, warmup, clips).dit, clips, settings.clips)
    write(p, out, "fog_a", f"relative change of the velocity, {settings.norm} norm", settings.times, scores)
