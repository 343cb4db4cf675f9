"""Clips as the model sees them, and the order in which training sees clips: a function of (seed, step) alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import torch
from torch import Tensor

from agrepa.artifacts import Features, read_json
from agrepa.corpora import manifest as manifests
from agrepa.domains import DOMAINS
from agrepa.flow.path import generator
from agrepa.model.conditioning import Condition, frame_positions
from agrepa.tokens.sequence import PAD

if TYPE_CHECKING:
    import pandas as pd

    from agrepa.params import Experiment


class Sources(TypedDict):
    """The artifacts that clips are read from; every stage that runs the model takes all of them."""

    manifest: Path
    statistics: Path
    mel: list[Path]
    tokens: list[Path]
    whisper: list[Path]
    yamnet: list[Path]


@dataclass
class Batch:
    """Padded clips.

    Attributes:
        ids: clip ids.
        mel: normalised log-mel x ``[B, T, M]``, zeros at padding.
        mask: True at valid frames ``[B, T]``.
        condition: tokens, no reference, nothing dropped.
        domain: index into DOMAINS ``[B]``.
        teachers: domain -> target vectors ``[B_d, D_T]`` of that domain's clips, in batch order.
    """

    ids: list[str]
    mel: Tensor
    mask: Tensor
    condition: Condition
    domain: Tensor
    teachers: dict[str, Tensor]

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        c = self.condition
        moved = Condition(*(v.to(device) for v in (c.tokens, c.positions, c.reference, c.dropped)))
        teachers = {name: value.to(device) for name, value in self.teachers.items()}
        return Batch(self.ids, self.mel.to(device), self.mask.to(device), moved, self.domain.to(device), teachers)

    def with_condition(self, condition: Condition) -> Batch:
        return replace(self, condition=condition)


class Clips:
    """Everything about the clips of a manifest that the model reads."""

    def __init__(self, p: Experiment, sources: Sources) -> None:
        self.table: pd.DataFrame = manifests.read(sources["manifest"]).set_index("id", drop=False)
        stored = read_json(sources["statistics"])
        self.mean, self.std = float(stored["mean"]), float(stored["std"])
        self.frame_rate = p.corpora.sample_rate / p.mel.hop
        self.mel, self.tokens = Features(sources["mel"], "mel"), Features(sources["tokens"], "tokens")
        shards = {"whisper": sources["whisper"], "yamnet": sources["yamnet"]}
        self.teachers = {}
        for domain in DOMAINS:
            encoder, output = getattr(p.teachers, domain)
            self.teachers[domain] = Features(shards[encoder], f"{output}.mean")

    def first(self, split: str, domain: str, count: int) -> list[str]:
        """The first ``count`` clips of a split and domain, in manifest order."""
        return list(manifests.evaluation_list(self.table, split, domain, count))

    def teacher_widths(self) -> dict[str, int]:
        """Width of each domain's target vector."""
        widths = {}
        for domain in DOMAINS:
            clip = self.table.id[self.table.domain == domain].iloc[0]
            widths[domain] = int(self.teachers[domain][clip].shape[-1])
        return widths

    def batch(self, ids: list[str], tokens_of: dict[str, str] | None = None) -> Batch:
        """Collate clips.

        Args:
            ids: clip ids.
            tokens_of: clip -> the clip whose tokens it is conditioned on instead of its own (control).
        """
        mels = [(self.mel[clip] - self.mean) / self.std for clip in ids]
        sources = [clip if tokens_of is None else tokens_of[clip] for clip in ids]
        tokens = [self.tokens[clip].long() for clip in sources]
        size, longest = len(ids), max(len(m) for m in mels)
        streams = tokens[0].shape[1]
        x = torch.zeros(size, longest, mels[0].shape[1])
        mask = torch.zeros(size, longest, dtype=torch.bool)
        padded = torch.full((size, max(len(t) for t in tokens), streams), PAD)
        positions = torch.zeros(size, longest)
        for i, (m, t) in enumerate(zip(mels, tokens, strict=True)):
            x[i, : len(m)], mask[i, : len(m)], padded[i, : len(t)] = m, True, t
            positions[i, : len(m)] = frame_positions(len(m), self.frame_rate, len(t), self.tokens.rate[sources[i]])
        domain = torch.tensor([DOMAINS.index(self.table.domain[clip]) for clip in ids])
        teachers = {
            name: torch.cat([self.teachers[name][clip] for clip in chosen]) if chosen else torch.zeros(0, 1)
            for name, chosen in ((d, [c for c in ids if self.table.domain[c] == d]) for d in DOMAINS)
        }
        condition = Condition(padded, positions, torch.zeros_like(x), torch.zeros(size, dtype=torch.bool))
        return Batch(list(ids), x, mask, condition, domain, teachers)

    def in_batches(self, ids: Iterable[str], batch_frames: int, tokens_of: dict[str, str] | None = None) -> Iterator[Batch]:
        """Batches over ``ids`` sorted by length, each of at most ``batch_frames`` padded frames (or one clip)."""
        ordered = sorted(ids, key=lambda clip: (self.mel.frames[clip], clip))
        for group in pack(ordered, self.mel.frames, batch_frames):
            yield self.batch(group, tokens_of)


def pack(ordered: list[str], frames: dict[str, int], batch_frames: int) -> list[list[str]]:
    """Cut a list sorted by length into groups whose padded size stays within ``batch_frames``; a longer clip stands alone."""
    groups: list[list[str]] = [[]]
    for clip in ordered:
        if groups[-1] and max(frames[c] for c in (*groups[-1], clip)) * (len(groups[-1]) + 1) > batch_frames:
            groups.append([])
        groups[-1].append(clip)
    return [group for group in groups if group]


class Plan:
    """Which clips make up the batch of each step. Epochs are reshuffled; clips of similar length share a batch."""

    JITTER = 0.2  # relative noise on lengths before sorting, so that batches differ between epochs

    def __init__(self, frames: dict[str, int], batch_frames: int, seed: int) -> None:
        self.frames, self.batch_frames, self.seed = frames, batch_frames, seed
        self.clips = sorted(frames)

    def epoch(self, number: int) -> list[list[str]]:
        """All batches of one epoch, in order."""
        rng = np.random.default_rng([self.seed, number])
        length = np.array([self.frames[clip] for clip in self.clips]) * rng.uniform(
            1 - self.JITTER, 1 + self.JITTER, len(self.clips)
        )
        groups = pack([self.clips[i] for i in np.argsort(length, kind="stable")], self.frames, self.batch_frames)
        return [groups[i] for i in rng.permutation(len(groups))]

    def steps(self, start: int) -> Iterator[list[str]]:
        """The batches of steps ``start``, ``start + 1``, … without end."""
        epoch = 0
        while start >= len(batches := self.epoch(epoch)):
            start, epoch = start - len(batches), epoch + 1
        while True:
            yield from self.epoch(epoch)[start:]
            start, epoch = 0, epoch + 1


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
