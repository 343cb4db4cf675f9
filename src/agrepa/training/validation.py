"""Validation flow-matching loss: a fixed grid of t, fixed noise for each clip, no dropout, no reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch

from agrepa.corpora.manifest import UNSEEN
from agrepa.data.noise import clip_noise
from agrepa.flow.loss import flow_matching_loss
from agrepa.flow.path import interpolate, velocity

if TYPE_CHECKING:
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import ModelSettings


@torch.no_grad()
def clip_losses(p: ModelSettings, backbone: Backbone, dataset: Dataset, rank: int = 0, world: int = 1) -> dict[str, float]:
    """Loss of every validation clip, mean over times.

    Args:
        rank, world: of every ``world`` clips, take the one at ``rank``.
    """
    device = next(backbone.parameters()).device
    losses: dict[str, float] = {}
    for batch in dataset.in_batches(dataset.of_split("validation")[rank::world], 2 * p.training.batch_frames):
        batch = batch.to(device)
        eps = clip_noise(batch, p.flow.noise_scale, p.seed, "validation")
        total = torch.zeros(len(batch.ids), dtype=torch.float64)
        for time in p.training.validation_times:
            t = torch.full((len(batch.ids),), time, device=device)
            predicted = backbone(interpolate(batch.mel, eps, t), t, batch.condition, batch.mask)
            loss = flow_matching_loss(predicted, velocity(batch.mel, eps), batch.mask)
            total += loss.double().cpu()
        losses |= dict(zip(batch.ids, (total / len(p.training.validation_times)).tolist(), strict=True))
    return losses


def table_of(dataset: Dataset, losses: dict[str, float]) -> pd.DataFrame:
    """``clip_losses`` with what is known of the clips: columns clip, domain, family, listing, loss, in manifest order."""
    table = dataset.table.loc[list(dataset.of_split("validation")), ["id", "domain", "family", "listing"]]
    table = table.rename(columns={"id": "clip"}).reset_index(drop=True)
    return table.assign(loss=table["clip"].map(losses))


def means(losses: pd.DataFrame) -> dict[str, float]:
    """Means of ``table_of``: one value a domain, and "validation_flow", the mean of these.

    Speech is that of the main list, as the flow loss of the tables is. Speakers that training never hears have a series of
    their own, "validation_flow_speech_unseen", which no mean takes in.
    """
    unseen = losses.listing == UNSEEN
    found, apart = (
        {f"validation_flow_{domain}{end}": float(part.loss.mean()) for domain, part in chosen.groupby("domain", sort=False)}
        for chosen, end in ((losses[~unseen], ""), (losses[unseen], f"_{UNSEEN}"))
    )
    return {"validation_flow": sum(found.values()) / len(found), **found, **apart}
