"""The mel stage: log-mel spectrograms of the clips of a shard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agrepa.artifacts import write_features
from agrepa.audio import files
from agrepa.audio.mel import log_mel
from agrepa.corpora import manifest as manifests
from agrepa.errors import AudioError
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params import Experiment


def run(p: Experiment, shard: str, manifest: Path, clips: Path, out: Path) -> None:
    """Write output "mel" of every clip of the shard: float32 ``[T, bands]``.

    Raises AudioError when a clip is missing, is not audio, has another sample rate or is too short.
    """
    rate = p.corpora.sample_rate
    rows = manifests.shard(manifests.read(manifest), int(shard), p.shards)

    def features() -> Iterator[tuple[str, str, Tensor, float]]:
        for clip in track(rows.id.tolist(), "mel", unit="clip"):
            wave, _ = files.read(clips / f"{clip}.flac", expected_rate=rate)
            try:
                mel = log_mel(torch.from_numpy(wave)[None], p.mel, rate)[0]
            except AudioError as error:
                raise AudioError(f"{clips / clip}.flac: {error}") from None
            yield clip, "mel", mel, rate / p.mel.hop

    write_features(out, features())
