"""Alignment of hidden layers: target x head x weight(step, t) x layers(step).

sum_{k in S} lambda_k w(step, t) (1 - cos(h_phi_k(h_k), target)) (the alignment term of Eq. 12). A target for the clip is
compared with the mean over its frames, a framewise one at every valid frame and then averaged over them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from agrepa.alignment.protocols import Head, Onlooker, OverTime
from agrepa.domains import DOMAINS
from agrepa.model.backbone import pool

if TYPE_CHECKING:
    from agrepa.alignment.protocols import Course, Layers, Schedule, Selection, Target
    from agrepa.data.collate import Batch
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import ArmSettings


class Supervision(nn.Module):
    """The alignment term of an arm, with one head for each (domain, layer) that it may supervise.

    Args:
        heads: ``<domain>_<layer>`` -> its head.

    Attributes:
        course: the training, which a target that is an ``Onlooker`` needs; it is there once the trainer is.
    """

    course: Course

    def __init__(self, target: Target, heads: dict[str, Head], schedule: Schedule, layers: Layers) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(heads)
        self.target, self.schedule, self.layers = target, schedule, layers

    def forward(self, states: dict[int, Tensor], batch: Batch, step: int, t: Tensor) -> Tensor:
        """The scalar term: states h_l ``[B, T, D]`` by layer, t ``[B]``. Those of a step's shares add up to that of the step."""
        loss, weight = t.new_zeros(()), self.schedule(step, t)
        if not weight.any():
            return loss
        if isinstance(self.target, Onlooker):
            self.target.look(batch, step, self.course)
        selection = self.layers(step)
        pooled: dict[int, Tensor] = {}
        if not self.target.framewise:
            chosen_layers = sorted({layer for layers, _ in selection.values() for layer in layers})
            pooled = {layer: pool(states[layer], batch.mask) for layer in chosen_layers}
        for index, domain in enumerate(DOMAINS):
            chosen = batch.domain == index
            if not chosen.any():
                continue
            clips, part = batch.whole.domains.count(domain), batch.whole.part(domain)
            for layer, share in zip(*selection.get(domain, ((), ())), strict=True):
                head, mask = self.heads[f"{domain}_{layer}"], batch.mask[chosen]
                assert isinstance(head, Head)
                if self.target.framewise:
                    projected = head(states[layer][chosen], mask)
                elif head.temporal:
                    projected = pool(head(states[layer][chosen], mask), mask)
                else:
                    projected = head(pooled[layer][chosen], mask)
                target = self.target.of(batch, states, domain, layer, chosen)
                score = F.cosine_similarity(projected.float(), target.float(), dim=-1)
                if self.target.framewise:
                    score = (score * mask).sum(1) / mask.sum(1)
                leaning = weight[chosen]
                if isinstance(share, OverTime):
                    leaning, share = leaning * share(t[chosen]), 1.0
                loss = loss + share * ((leaning * (1 - score)).sum() / clips) * part
        return loss

    def observe(self, step: int, backbone: Backbone) -> dict[str, float]:
        """See ``Layers.observe``."""
        return self.layers.observe(step, backbone)

    def memory(self) -> Any:
        """See ``Layers.memory``."""
        return self.layers.memory()

    def recall(self, memory: Any) -> None:
        """See ``Layers.recall``."""
        self.layers.recall(memory)


def build(p: ArmSettings, selection: Selection, backbone: Backbone, dataset: Dataset) -> Supervision | None:
    """The supervision that an arm's keys name; None for an arm without layers. Its heads are drawn in the selection's order.

    Raises ParamsError when the kinds do not go together.
    """
    if not selection:
        return None

    def kind(part: str, name: str) -> Any:
        return import_module(f"agrepa.alignment.{part}.{name}").build

    target: Target = kind("targets", p.target)(backbone, dataset)
    layers: Layers = kind("layers", p.refresh)(p, selection, backbone, dataset)
    head = kind("heads", p.head)
    heads: dict[str, Head] = {
        f"{domain}_{layer}": head(p.model, backbone.width, target.width(domain, layer))
        for domain, reachable in layers.reachable.items()
        for layer in reachable
    }
    return Supervision(target, heads, kind("schedules", p.schedule)(p), layers)
