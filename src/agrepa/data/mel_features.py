"""The mel stage: log-mel spectrograms of the clips of a shard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from agrepa.artifacts.features import Stored, write_shard
from agrepa.audio.mel import first_centre, log_mel
from agrepa.corpora import manifest as manifests
from agrepa.errors import AudioError
from agrepa.job import In, Out, Wildcard
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.stages import MelSettings


def run(p: MelSettings, *, shard: Wildcard, manifest: In, out: Out) -> None:
    """Log-mel spectrograms of one shard.

    Writes feature mel/mel of every clip: float32 ``[T, bands]``.

    Raises AudioError or CorpusError when a clip is missing, not the manifest's, of another sample rate, or too short.
    """
    rows = manifests.shard(manifests.read(manifest), int(shard), p.shards)

    def features() -> Iterator[Stored]:
        for row in track(list(rows.itertuples()), "mel", unit="clip"):
            wave = manifests.wave(row, p.sample_rate)
            try:
                mel = log_mel(torch.from_numpy(wave)[None], p.mel, p.sample_rate)[0]
            except AudioError as error:
                raise AudioError(f"{row.clip}: {error}") from None
            yield Stored(row.id, "mel", mel, p.sample_rate / p.mel.hop, first_centre(p.mel, p.sample_rate))

    write_shard(out, "mel", features())
