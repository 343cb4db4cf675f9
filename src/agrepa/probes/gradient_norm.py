"""Gradient norm: how strongly the flow-matching loss pulls on a layer. ||d L_FM / d theta_l|| of each clip (Table 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agrepa.data.dataset import Dataset
from agrepa.flow.loss import flow_matching_loss
from agrepa.flow.path import velocity
from agrepa.job import In, Out, Wildcard
from agrepa.probes.measurement import Place, frozen, measure, write

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import GradientNormSettings


def gradient_norm(backbone: Backbone, place: Place) -> Tensor:
    """L2 norm over a layer's parameters of the gradient of each clip's flow-matching loss, ``[L, B]``."""
    batch = place.batch
    predicted = backbone(place.x, place.t, batch.condition, batch.mask)
    losses = flow_matching_loss(predicted, velocity(batch.mel, place.noise), batch.mask)
    parameters = [list(backbone.unit(layer).parameters()) for layer in range(1, backbone.depth + 1)]
    columns = []
    for i in range(len(batch.ids)):
        flat = torch.autograd.grad(losses[i], [w for unit in parameters for w in unit], retain_graph=i + 1 < len(batch.ids))
        gradients = iter(flat)
        columns.append(
            torch.stack([torch.stack([next(gradients).square().sum() for _ in unit]).sum().sqrt() for unit in parameters])
        )
    return torch.stack(columns, 1)


def run(
    p: GradientNormSettings,
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
    """Gradient norm of every layer of the frozen warm-up checkpoint."""
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens)
    backbone, probe = frozen(p, warmup), p.probe

    scores = measure(p, dataset, probe.clips, probe.times, "gradient norm", lambda place: gradient_norm(backbone, place))
    definition = "L2 norm of the flow-matching gradient over a block's parameters"
    write(out, "gradient_norm", definition, int(seed), probe.times, scores, p.bootstrap, p.seed)
