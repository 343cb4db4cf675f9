"""Gradient norm: how strongly the flow-matching loss pulls on a layer. ||d L_FM / d theta_l|| of each clip (Table 3)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import torch

from agrepa.flow.path import flow_matching_loss, velocity
from agrepa.probes.grid import frozen_objective, measure, write
from agrepa.training.batches import Clips, Sources

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.model.dit import DiT
    from agrepa.params import Experiment
    from agrepa.probes.grid import Place


def gradient_norm(model: DiT, place: Place) -> Tensor:
    """L2 norm over a block's parameters of the gradient of each clip's flow-matching loss, ``[L, B]``."""
    batch = place.batch
    predicted = model(place.x, place.t, batch.condition, batch.mask)
    losses = flow_matching_loss(predicted, velocity(batch.mel, place.noise), batch.mask)
    columns = []
    for i in range(len(batch.ids)):
        parameters = [list(block.parameters()) for block in model.blocks]
        flat = torch.autograd.grad(losses[i], [w for block in parameters for w in block], retain_graph=i + 1 < len(batch.ids))
        gradients = iter(flat)
        columns.append(
            torch.stack([torch.stack([next(gradients).square().sum() for _ in block]).sum().sqrt() for block in parameters])
        )
    return torch.stack(columns, 1)


def run(p: Experiment, warmup: Path, out: Path, **sources: Unpack[Sources]) -> None:
    """Gradient norm of every block of the frozen warm-up checkpoint."""
    clips = Clips(p, sources)
    model = frozen_objective(p, warmup, clips).dit
    settings = p.probes.gradient_norm
    scores = measure(p, clips, settings.clips, settings.times, "gradient norm", lambda place: gradient_norm(model, place))
    write(p, out, "gradient_norm", "L2 norm of the flow-matching gradient over a block's parameters", settings.times, scores)
