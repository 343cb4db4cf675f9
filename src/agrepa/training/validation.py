"""Validation flow-matching loss: a fixed grid of t, fixed noise for each clip, no dropout, no reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agrepa.domains import DOMAINS
from agrepa.flow.path import flow_matching_loss, point, velocity
from agrepa.model.dit import DiT
from agrepa.training.batches import Clips, clip_noise

if TYPE_CHECKING:
    from agrepa.params import Experiment


@torch.no_grad()
def validate(p: Experiment, model: DiT, clips: Clips) -> dict[str, float]:
    """Mean loss over clips and times: "validation_flow" (mean of the domains) and one value a domain."""
    device = next(model.parameters()).device
    ids = list(clips.table.id[clips.table.split == "validation"])
    losses: dict[str, list[float]] = {domain: [] for domain in DOMAINS}
    for batch in clips.in_batches(ids, 2 * p.training.batch_frames):
        batch = batch.to(device)
        eps = clip_noise(batch, p.flow.noise_scale, p.seed, "validation")
        for time in p.training.validation_times:
            t = torch.full((len(batch.ids),), time, device=device)
            predicted = model(point(batch.mel, eps, t), t, batch.condition, batch.mask)
            loss = flow_matching_loss(predicted, velocity(batch.mel, eps), batch.mask)
            for value, domain in zip(loss.tolist(), batch.domain.tolist(), strict=True):
                losses[DOMAINS[domain]].append(value)
    means = {f"validation_flow_{domain}": sum(values) / len(values) for domain, values in losses.items() if values}
    return {"validation_flow": sum(means.values()) / len(means), **means}
