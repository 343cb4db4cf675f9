"""Clips as the model sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils import data

from agrepa.artifacts.features import FeatureStore
from agrepa.artifacts.files import read_json
from agrepa.corpora import manifest as manifests
from agrepa.data.batch_sampler import pack
from agrepa.data.collate import Batch, Example, collate
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
        manifest, statistics: the clips, and mean and standard deviation of their log-mels.
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
        self.mean, self.std = float(stored["mean"]), float(stored["std"])
        self.frame_rate = p.sample_rate / p.mel.hop
        self.mel: Feature = FeatureStore([mel]).feature("mel", "mel")
        self.tokens: Feature = FeatureStore([tokens]).feature("tokens", "tokens")
        self.teacher_vectors = _of_teachers(teachers, list(targets), ".mean")
        self.teacher_frames = _of_teachers(teachers, list(features), "")
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
        mel, tokens = (self.mel[clip] - self.mean) / self.std, self.tokens[tokens_of].long()
        positions = frame_positions(len(mel), self.frame_rate, len(tokens), self.tokens.rate[tokens_of])
        example = Example(clip, mel, tokens, positions, domain)
        if domain in self.teacher_vectors:
            example.teacher_vector = self._standard(domain, self.teacher_vectors[domain][clip])
        if domain in self.teacher_frames:
            teacher = self.teacher_frames[domain]
            frames = self._standard(domain, teacher[clip].float())
            example.teacher_frames = frames, frame_positions(len(mel), self.frame_rate, len(frames), teacher.rate[clip])
        return example

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

    def teacher_widths(self) -> dict[str, int]:
        """Width of each domain's target vector."""
        return self._widths(self.teacher_vectors)

    def teacher_frame_widths(self) -> dict[str, int]:
        """Width of each domain's teacher frames."""
        return self._widths(self.teacher_frames)

    def _widths(self, features: dict[str, Feature]) -> dict[str, int]:
        first = {domain: self.table.id[self.table.domain == domain].iloc[0] for domain in features}
        return {domain: int(features[domain][clip].shape[-1]) for domain, clip in first.items()}

    def batch(self, ids: list[str], tokens_of: dict[str, str] | None = None) -> Batch:
        """Collate clips.

        Args:
            ids: clip ids.
            tokens_of: clip -> the clip whose tokens it is conditioned on instead of its own (control).
        """
        return collate([self.example(clip, clip if tokens_of is None else tokens_of[clip]) for clip in ids])

    def in_batches(self, ids: Iterable[str], batch_frames: int, tokens_of: dict[str, str] | None = None) -> Iterator[Batch]:
        """Batches over ``ids`` sorted by length, each of at most ``batch_frames`` padded frames (or one clip)."""
        ordered = sorted(ids, key=lambda clip: (self.mel.frames[clip], clip))
        for group in pack(ordered, self.mel.frames, batch_frames):
            yield self.batch(group, tokens_of)


def _of_teachers(teachers: Teachers | None, indexes: list[Path], suffix: str) -> dict[str, Feature]:
    """Domain -> the teacher's feature, read from ``indexes``; nothing where there are none."""
    if not indexes:
        return {}
    store = FeatureStore(indexes)
    outputs = {domain: getattr(teachers, domain) for domain in DOMAINS}
    return {domain: store.feature(encoder, output + suffix) for domain, (encoder, output) in outputs.items()}
