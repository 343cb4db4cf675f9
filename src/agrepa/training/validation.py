"""Validation flow-matching loss: a fixed grid of t, fixed noise for each clip, no dropout, no reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agrepa.data.noise import clip_noise
from agrepa.domains import DOMAINS
from agrepa.flow.loss import flow_matching_loss
from agrepa.flow.path import interpolate, velocity

if TYPE_CHECKING:
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import ModelSettings


@torch.no_grad()
def validate(p: ModelSettings, backbone: Backbone, dataset: Dataset) -> dict[str, float]:
    """Mean loss over clips and times: "validation_flow" (mean of the domains) and one value a domain."""
    device = next(backbone.parameters()).device
    losses: dict[str, list[float]] = {domain: [] for domain in DOMAINS}
    for batch in dataset.in_batches(dataset.of_split("validation"), 2 * p.training.batch_frames):
        batch = batch.to(device)
        eps = clip_noise(batch, p.flow.noise_scale, p.seed, "validation")
        for time in p.training.validation_times:
            t = torch.full((len(batch.ids),), time, device=device)
            predicted = backbone(interpolate(batch.mel, eps, t), t, batch.condition, batch.mask)
            loss = flow_matching_loss(predicted, velocity(batch.mel, eps), batch.mask)
            for value, domain in zip(loss.tolist(), batch.domain.tolist(), strict=True):
                losses[DOMAINS[domain]].append(value)
    means = {f"validation_flow_{domain}": sum(values) / len(values) for domain, values in losses.items() if values}
    return {"validation_flow": sum(means.values()) / len(means), **means}
