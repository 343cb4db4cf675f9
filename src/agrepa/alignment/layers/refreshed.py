"""Layers: selected anew during Phase II, every ``training.snapshot_every`` steps, by FoG-A of the model as it is then.

FoG-A has the norm and denominator of the probe. The model's moving average is measured on the first validation clips of each
domain, as many as fill one training batch, at ``training.validation_times``. Until the first refresh the arm's selection holds.
Every layer that may be selected has a head from the start, so that one which is selected late is trained like the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from agrepa.alignment import ranking
from agrepa.data.batch_sampler import pack
from agrepa.data.noise import clip_noise
from agrepa.errors import ParamsError
from agrepa.flow.path import interpolate
from agrepa.model.ablation import fog_a

if TYPE_CHECKING:
    from agrepa.alignment.protocols import Selection
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import ArmSettings


class Refreshed:
    """S and lambda of the last refresh.

    Args:
        k: layers of each domain.
        depth: layers of the model.
    """

    def __init__(self, p: ArmSettings, selection: Selection, k: int, depth: int, dataset: Dataset) -> None:
        self.p, self.selection, self.k, self.dataset = p, dict(selection), k, dataset
        # A target that is a deeper layer has none for the last.
        self.reachable = {domain: list(range(1, depth + 1 - p.looks_deeper)) for domain in selection}

    def __call__(self, step: int) -> Selection:
        return self.selection

    def observe(self, step: int, backbone: Backbone) -> dict[str, float]:
        """Select anew where a refresh is due; gives lambda of each selected layer as ``weight_<domain>_<layer>``."""
        training = self.p.training
        if step % training.snapshot_every or step <= training.warmup_steps:
            return {}
        written: dict[str, float] = {}
        for domain in self.selection:
            scores = self.scores(domain, backbone)
            layers = ranking.top_k(scores[: len(self.reachable[domain])], self.k)
            shares = ranking.weighted(self.p.weighting, [scores[layer - 1] for layer in layers])
            self.selection[domain] = (layers, list(shares))
            written |= {f"weight_{domain}_{layer}": share for layer, share in zip(layers, shares, strict=True)}
        return written

    def scores(self, domain: str, backbone: Backbone) -> list[float]:
        """FoG-A of every layer, mean over clips and times, ``[L]``."""
        table, training, how = self.dataset.table, self.p.training, self.p.refresh_by or ()
        ids = list(table.id[(table.split == "validation") & (table.domain == domain)])
        batch = self.dataset.batch(pack(ids, self.dataset.mel.frames, training.batch_frames)[0])
        batch = batch.to(next(backbone.parameters()).device)
        eps = clip_noise(batch, self.p.flow.noise_scale, self.p.seed, "refresh")
        found = []
        for time in training.validation_times:
            t = torch.full((len(batch.ids),), time, device=eps.device)
            found.append(fog_a(backbone, interpolate(batch.mel, eps, t), t, batch.condition, batch.mask, *how))
        return torch.stack(found).double().mean((0, 2)).tolist()

    def memory(self) -> Any:
        return self.selection

    def recall(self, memory: Any) -> None:
        self.selection = {domain: (layers, shares) for domain, (layers, shares) in memory.items()}


def build(p: ArmSettings, selection: Selection, backbone: Backbone, dataset: Dataset) -> Refreshed:
    """Refreshed layers that begin with the arm's selection.

    Raises ParamsError when the arm does not say how many layers to select.
    """
    if p.k is None:
        raise ParamsError("refresh 'refreshed' selects k layers by FoG-A and the arm has no k: set k, or use refresh: frozen")
    return Refreshed(p, selection, p.k, backbone.depth, dataset)
