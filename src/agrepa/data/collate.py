"""Clips of different lengths padded to one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from agrepa.domains import DOMAINS
from agrepa.model.conditioning import Condition
from agrepa.tokens.sequence import PAD

if TYPE_CHECKING:
    from agrepa.data.example import Example


@dataclass
class TeacherFrames:
    """Frames of a teacher at its own rate: values ``[B_d, F, D_T]`` and the positions of the mel frames on them ``[B_d, T]``."""

    values: Tensor
    positions: Tensor


@dataclass
class Whole:
    """All clips of a step, of which a batch may be a share: their ids and, in the same order, their domains."""

    ids: list[str]
    domains: list[str]

    def part(self, domain: str) -> float:
        """How much of the clips are of a domain, from 0 to 1."""
        return self.domains.count(domain) / len(self.ids)


@dataclass
class Batch:
    """Padded clips.

    Attributes:
        ids: clip ids.
        mel: normalised log-mel x ``[B, T, M]``, zeros at padding.
        mask: True at valid frames ``[B, T]``.
        condition: tokens, the examples' own references, nothing dropped.
        domain: index into DOMAINS ``[B]``.
        teacher_vectors: domain -> target vectors ``[B_d, D_T]`` of that domain's clips, in batch order; only where they are read.
        teacher_frames: domain -> the teacher's frames of that domain's clips, in batch order; only where they are read.
        whole: the clips over which losses are means: those of the batch itself, or of the step of which it is a share.
    """

    ids: list[str]
    mel: Tensor
    mask: Tensor
    condition: Condition
    domain: Tensor
    teacher_vectors: dict[str, Tensor]
    teacher_frames: dict[str, TeacherFrames]
    whole: Whole

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.ids,
            self.mel.to(device),
            self.mask.to(device),
            self.condition.to(device),
            self.domain.to(device),
            {name: value.to(device) for name, value in self.teacher_vectors.items()},
            {n: TeacherFrames(f.values.to(device), f.positions.to(device)) for n, f in self.teacher_frames.items()},
            self.whole,
        )


def collate(examples: Sequence[Example]) -> Batch:
    """Pad examples to the longest of them: zeros in the mel, PAD in the tokens."""
    size, longest = len(examples), max(len(example.mel) for example in examples)
    x = torch.zeros(size, longest, examples[0].mel.shape[1])
    mask = torch.zeros(size, longest, dtype=torch.bool)
    tokens = torch.full((size, max(len(e.tokens) for e in examples), examples[0].tokens.shape[1]), PAD)
    positions, reference = torch.zeros(size, longest), torch.zeros_like(x)
    for i, example in enumerate(examples):
        frames = len(example.mel)
        x[i, :frames], mask[i, :frames], tokens[i, : len(example.tokens)] = example.mel, True, example.tokens
        positions[i, :frames] = example.positions
        reference[i, : example.reference] = example.mel[: example.reference]
    domain = torch.tensor([DOMAINS.index(example.domain) for example in examples])
    vectors, teacher_frames = {}, {}
    for name in DOMAINS:
        chosen = [example for example in examples if example.domain == name]
        if found := [e.teacher_vector for e in chosen if e.teacher_vector is not None]:
            vectors[name] = torch.cat(found)
        if framed := [e.teacher_frames for e in chosen if e.teacher_frames is not None]:
            places = torch.zeros(len(framed), longest)
            for i, (_, place) in enumerate(framed):
                places[i, : len(place)] = place
            teacher_frames[name] = TeacherFrames(pad_sequence([values for values, _ in framed], batch_first=True), places)
    condition = Condition(tokens, positions, reference, torch.zeros(size, dtype=torch.bool))
    whole = Whole([example.id for example in examples], [example.domain for example in examples])
    return Batch(whole.ids, x, mask, condition, domain, vectors, teacher_frames, whole)
