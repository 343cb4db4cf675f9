"""The randomness of training and of everything that is measured, each from a stream that its key alone decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agrepa.domains import DOMAINS
from agrepa.model.conditioning import Condition
from agrepa.seeding import generator

if TYPE_CHECKING:
    from agrepa.data.collate import Batch
    from agrepa.data.example import Window
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
    """The randomness of one step: times ``[B]``, noise ``[B, T, M]``, and the condition with its dropouts and reference.

    Attributes:
        given: True at the frames that the reference shows ``[B, T]``.
        heard: domain -> how many of its clips in the whole step keep their tokens.
    """

    step: int
    t: Tensor
    eps: Tensor
    condition: Condition
    given: Tensor
    heard: dict[str, int]

    def to(self, device: torch.device) -> Draw:
        """The same draw on another device."""
        moved = (self.t.to(device), self.eps.to(device), self.condition.to(device), self.given.to(device))
        return Draw(self.step, *moved, self.heard)


def crops(frames: Mapping[str, int], crop_frames: int | None, seed: int, step: int) -> dict[str, Window]:
    """The window of ``crop_frames`` mel frames of each longer clip, drawn from the stream (seed, step, clip).

    Args:
        frames: clip -> its mel frames.
        crop_frames: None crops nothing.
    """
    windows = {}
    for clip, count in frames.items():
        if crop_frames is not None and count > crop_frames:
            first = int(torch.randint(count - crop_frames + 1, (1,), generator=generator(seed, "crop", step, clip)))
            windows[clip] = first, first + crop_frames
    return windows


def draw(p: ModelSettings, batch: Batch, seed: int, step: int) -> Draw:
    """Draw t, eps, dropped tokens and reference prefixes of each clip from the stream (seed, step, clip).

    Tokens and reference are dropped independently, so that guidance can leave out the one and keep the other.
    So a clip's draw is the same for every arm and whatever batch, place in it or process it comes to. Stratified times are the
    exception that lies in their nature: of a step of N clips, each has an N-th of [0, 1] to itself, t = (place + u) / N. u and
    the lots by which places are given out are the clips' own draws, so t depends on which clips share a step, not on their
    order, nor on how the step is cut into batches. Every clip's t is uniform on [0, 1] either way.
    """
    training, lengths, whole = p.training, batch.mask.sum(1), batch.whole
    streams = [generator(seed, "step", step, clip) for clip in whole.ids]
    t, lots, drops, hides, part = torch.stack([torch.rand(5, generator=stream) for stream in streams]).unbind(1)
    if training.stratified_times:
        t = (lots.argsort(stable=True).argsort() + t) / len(t)
    dropped, hidden = drops < training.condition_dropout, hides < training.reference_dropout
    listening = [domain for domain, gone in zip(whole.domains, dropped.tolist(), strict=True) if not gone]
    heard = {domain: listening.count(domain) for domain in DOMAINS}
    places = {clip: place for place, clip in enumerate(whole.ids)}
    mine = [places[clip] for clip in batch.ids]
    t, dropped, hidden, part = t[mine], dropped[mine], hidden[mine], part[mine]
    eps = torch.zeros_like(batch.mel)
    for i, (place, frames) in enumerate(zip(mine, lengths.tolist(), strict=True)):
        eps[i, :frames] = p.flow.noise_scale * torch.randn((frames, batch.mel.shape[2]), generator=streams[place])
    prefix = (lengths * part * training.reference_fraction).long() * ~hidden
    shown = torch.arange(batch.mel.shape[1]) < prefix[:, None]
    c = batch.condition
    return Draw(step, t, eps, Condition(c.tokens, c.positions, batch.mel * shown[..., None], dropped), shown, heard)
