"""Clips as the model sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils import data

from agrepa.artifacts.features import FeatureStore
from agrepa.artifacts.files import read_json
from agrepa.corpora import manifest as manifests
from agrepa.data.batch_sampler import pack
from agrepa.data.collate import Batch, collate
from agrepa.data.example import Example, Prompt, Window
from agrepa.domains import DOMAINS
from agrepa.model.conditioning import frame_positions

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from agrepa.artifacts.features import Feature
    from agrepa.params.stages import ModelSettings
    from agrepa.params.training import Teachers


class Dataset(data.Dataset[Example]):
    """Everything about the clips of a manifest that the model reads.

    Args:
        manifest, statistics: the clips, and mean and standard deviation of their log-mels in each band.
        mel, tokens: indexes of these features.
        teachers: which output teaches which domain.
        targets: indexes of the teachers' clip vectors; left out where no teacher is needed, and then none is read.
        features: indexes of the teachers' frames; likewise.
    """

    def __init__(
        self,
        p: ModelSettings,
        *,
        manifest: Path,
        statistics: Path,
        mel: Path,
        tokens: Path,
        teachers: Teachers | None = None,
        targets: Iterable[Path] = (),
        features: Iterable[Path] = (),
    ) -> None:
        self.table: pd.DataFrame = manifests.read(manifest).set_index("id", drop=False)
        stored = read_json(statistics)
        self.mean, self.std = torch.tensor(stored["mean"]), torch.tensor(stored["std"])
        self.mel: Feature = FeatureStore([mel]).feature("mel", "mel")
        self.tokens: Feature = FeatureStore([tokens]).feature("tokens", "tokens")
        self.domains = tuple(domain for domain in DOMAINS if (self.table.domain == domain).any())
        self.teacher_vectors = _of_teachers(teachers, list(targets), ".mean", self.domains)
        self.teacher_frames = _of_teachers(teachers, list(features), "", self.domains)
        self.teacher_scales: dict[str, tuple[Tensor, Tensor]] = {}
        if teachers is not None and teachers.standardised:
            self.teacher_scales = {domain: self._teacher_scale(domain) for domain in self.teacher_vectors}

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, clip: str) -> Example:
        return self.example(clip, clip)

    def example(self, clip: str, tokens_of: str) -> Example:
        """A clip with the tokens of ``tokens_of``, which is another clip in the control row."""
        domain = self.table.domain[clip]
        mel, tokens = self.normalise(self.mel[clip]), self.tokens[tokens_of].long()
        positions = self._positions(clip, self.tokens, tokens_of)
        example = Example(clip, mel, tokens, positions, domain)
        if domain in self.teacher_vectors:
            example.teacher_vector = self._standard(domain, self.teacher_vectors[domain][clip])
        if domain in self.teacher_frames:
            teacher = self.teacher_frames[domain]
            frames = self._standard(domain, teacher[clip].float())
            example.teacher_frames = frames, self._positions(clip, teacher, clip)
        return example

    def _positions(self, clip: str, other: Feature, clip_of: str) -> Tensor:
        """Where a clip's mel frames lie on the axis of another feature, of ``clip_of``: ``[T]``."""
        length, rate, first = other.frames[clip_of], other.rate[clip_of], other.first[clip_of]
        return frame_positions(self.mel.frames[clip], self.mel.rate[clip], length, rate, first, self.mel.first[clip])

    def normalise(self, log_mel: Tensor) -> Tensor:
        """Log-mel ``[T, M]`` as the model sees it."""
        return (log_mel - self.mean) / self.std

    def log_mel(self, normalised: Tensor) -> Tensor:
        """Inverse of ``normalise``."""
        return normalised * self.std + self.mean

    def teacher_mean(self, domain: str) -> Tensor:
        """Mean of the training clips' target vectors ``[D_T]``, as the model is given them."""
        return self._standard(domain, self._trained_on(domain)).mean(0)

    def _trained_on(self, domain: str) -> Tensor:
        clips = self.table.id[(self.table.split == "train") & (self.table.domain == domain)]
        return torch.cat([self.teacher_vectors[domain][clip].float() for clip in clips])

    def _teacher_scale(self, domain: str) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``[D_T]`` over the training clips; a dimension that never varies keeps its scale."""
        vectors = self._trained_on(domain)
        deviation = vectors.std(0, correction=0)
        return vectors.mean(0), torch.where(deviation > 0, deviation, torch.ones_like(deviation))

    def _standard(self, domain: str, vectors: Tensor) -> Tensor:
        """Vectors ``[..., D_T]`` standardised where the params ask for it."""
        if domain not in self.teacher_scales:
            return vectors
        mean, deviation = self.teacher_scales[domain]
        return (vectors - mean) / deviation

    def first(self, split: str, domain: str, count: int) -> list[str]:
        """The first ``count`` clips of a split and domain, in manifest order."""
        return list(manifests.evaluation_list(self.table, split, domain, count))

    def of_split(self, split: str) -> list[str]:
        """Every clip of a split, in manifest order."""
        return list(self.table.id[self.table.split == split])

    def frames(self, ids: Iterable[str], at_most: int | None = None) -> dict[str, int]:
        """Mel frames of clips, where they are cropped at most ``at_most``."""
        return {clip: min(self.mel.frames[clip], at_most or self.mel.frames[clip]) for clip in ids}

    def teacher_widths(self) -> dict[str, int]:
        """Width of each domain's target vector."""
        return self._widths(self.teacher_vectors)

    def teacher_frame_widths(self) -> dict[str, int]:
        """Width of each domain's teacher frames."""
        return self._widths(self.teacher_frames)

    def _widths(self, features: dict[str, Feature]) -> dict[str, int]:
        first = {domain: self.table.id[self.table.domain == domain].iloc[0] for domain in features}
        return {domain: int(features[domain][clip].shape[-1]) for domain, clip in first.items()}

    def batch(
        self,
        ids: list[str],
        tokens_of: Mapping[str, str] | None = None,
        windows: Mapping[str, Window] | None = None,
        prompts: Mapping[str, Prompt] | None = None,
    ) -> Batch:
        """Collate clips.

        Args:
            ids: clip ids.
            tokens_of: clip -> the clip whose tokens it is conditioned on instead of its own (control).
            windows: clip -> the mel frames to which it is cropped; a clip that is not there is whole.
            prompts: clip -> what stands before it as its reference; a clip that is not there has none.
        """
        examples = [self.example(clip, clip if tokens_of is None else tokens_of[clip]) for clip in ids]
        if windows:
            examples = [e.window(*windows[e.id]) if e.id in windows else e for e in examples]
        if prompts:
            examples = [e.after(self.start_of(*prompts[e.id])) if e.id in prompts else e for e in examples]
        return collate(examples)

    def start_of(self, clip: str, frames: int) -> Example:
        """The first mel frames of a clip and their tokens."""
        return self[clip].window(0, frames)

    def in_batches(
        self,
        ids: Iterable[str],
        batch_frames: int,
        tokens_of: Mapping[str, str] | None = None,
        prompts: Mapping[str, Prompt] | None = None,
    ) -> Iterator[Batch]:
        """Batches over ``ids`` sorted by length, each of at most ``batch_frames`` padded frames (or one clip); see ``batch``."""
        lengths = {clip: count + (prompts or {}).get(clip, ("", 0))[1] for clip, count in self.frames(ids).items()}
        for group in pack(sorted(lengths, key=lambda clip: (lengths[clip], clip)), lengths, batch_frames):
            yield self.batch(group, tokens_of, prompts=prompts)


def _of_teachers(teachers: Teachers | None, indexes: list[Path], suffix: str, domains: tuple[str, ...]) -> dict[str, Feature]:
    """Domain -> the teacher's feature, read from ``indexes``; nothing where there are none."""
    if not indexes:
        return {}
    store = FeatureStore(indexes)
    outputs = {domain: getattr(teachers, domain) for domain in domains}
    return {domain: store.feature(encoder, output + suffix) for domain, (encoder, output) in outputs.items()}
