"""The randomness of training and of everything that is measured, each from a stream that its key alone decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agrepa.model.conditioning import Condition
from agrepa.seeding import generator

if TYPE_CHECKING:
    from agrepa.data.collate import Batch
    from agrepa.params.stages import ModelSettings


def noise(shape: tuple[int, ...], scale: float, *key: object) -> Tensor:
    """Gaussian noise eps of standard deviation ``scale`` from the stream ``key``."""
    return scale * torch.randn(shape, generator=generator(*key))


def clip_noise(batch: Batch, scale: float, *key: object) -> Tensor:
    """Noise ``[B, T, M]`` that is fixed for each clip, however it is batched."""
    eps = torch.zeros_like(batch.mel)
    lengths = batch.mask.sum(1).tolist()
    for i, (clip, frames) in enumerate(zip(batch.ids, lengths, strict=True)):
        eps[i, :frames] = noise((frames, batch.mel.shape[2]), scale, *key, clip).to(eps.device)
    return eps


@dataclass
class Draw:
    """The randomness of one step: times ``[B]``, noise ``[B, T, M]``, and the condition with its dropouts and reference."""

    step: int
    t: Tensor
    eps: Tensor
    condition: Condition

    def to(self, device: torch.device) -> Draw:
        """The same draw on another device."""
        return replace(self, t=self.t.to(device), eps=self.eps.to(device), condition=self.condition.to(device))


def draw(p: ModelSettings, batch: Batch, seed: int, step: int) -> Draw:
    """Draw t, eps, condition dropout and reference prefixes from the stream (seed, step), the same for every arm."""
    g, size = generator(seed, "step", step), len(batch.ids)
    t = torch.rand(size, generator=g)
    dropped = torch.rand(size, generator=g) < p.training.condition_dropout
    hidden = torch.rand(size, generator=g) < p.training.reference_dropout
    fraction = torch.rand(size, generator=g) * p.training.reference_fraction
    prefix = (batch.mask.sum(1) * fraction).long() * ~(dropped | hidden)
    shown = torch.arange(batch.mel.shape[1]) < prefix[:, None]
    c = batch.condition
    return Draw(
        step,
        t,
        noise(tuple(batch.mel.shape), p.flow.noise_scale, seed, "eps", step),
        Condition(c.tokens, c.positions, batch.mel * shown[..., None], dropped),
    )
