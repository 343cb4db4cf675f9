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
    """Draw t, eps, condition dropout and reference prefixes of each clip from the stream (seed, step, clip).

    So a clip's draw is the same for every arm and whatever batch, place in it or process it comes to.
    """
    training, lengths = p.training, batch.mask.sum(1)
    streams = [generator(seed, "step", step, clip) for clip in batch.ids]
    t, drops, hides, part = torch.stack([torch.rand(4, generator=stream) for stream in streams]).unbind(1)
    eps = torch.zeros_like(batch.mel)
    for i, (stream, frames) in enumerate(zip(streams, lengths.tolist(), strict=True)):
        eps[i, :frames] = p.flow.noise_scale * torch.randn((frames, batch.mel.shape[2]), generator=stream)
    dropped, hidden = drops < training.condition_dropout, hides < training.reference_dropout
    prefix = (lengths * part * training.reference_fraction).long() * ~(dropped | hidden)
    shown = torch.arange(batch.mel.shape[1]) < prefix[:, None]
    c = batch.condition
    return Draw(step, t, eps, Condition(c.tokens, c.positions, batch.mel * shown[..., None], dropped))
