"""The decode stage: the candidates of a shard as clips at one sample rate and one bandwidth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.archives.containers import named
from agrepa.artifacts.files import read_table, write_table
from agrepa.audio import files
from agrepa.corpora import manifest as manifests
from agrepa.corpora.kinds import Reader, corpus
from agrepa.errors import CorpusError
from agrepa.job import In, Ins, Out, Wildcard
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora
    from agrepa.params.stages import DecodeSettings

SILENCE = -50.0  # dB of full scale; what is below at both ends is cut off: digital silence dominates FAD embeddings
COLUMNS = ("id", "start", "seconds", "sample_rate", "sha256", "clip")


def run(p: DecodeSettings, *, shard: Wildcard, candidates: In, archives: Ins, clips: Out, rows: Out) -> None:
    """Decode the candidates of one shard.

    Silence at both ends is cut off. Both domains get the same low-pass at the same rate, so that neither can be told by its
    bandwidth. Levels are as recorded, but for clips that would be above full scale, which are scaled down as a whole.

    Writes ``<id>.flac`` of every clip that is not all silence, and COLUMNS of every candidate; ``clip`` is relative to the
    folder of ``rows``, in which ``clips`` must lie, and empty where there is no file.

    Raises CorpusError or AudioError when an archive that the shard needs is missing or a recording is damaged.
    """
    if clips.parent != rows.parent:
        raise CorpusError(f"{rows} names clips relative to its own folder, and {clips} is in another: write both into one")
    table = manifests.shard(read_table(candidates), int(shard), p.shards)
    clips.mkdir(parents=True, exist_ok=True)
    found = list(track(_decoded(table, p.corpora, named(archives), clips), "decode", total=len(table), unit="clip"))
    write_table(rows, pd.DataFrame(found, columns=list(COLUMNS)))


def _decoded(table: pd.DataFrame, settings: Corpora, archives: dict[str, Path], folder: Path) -> Iterator[dict[str, Any]]:
    readers: dict[str, Reader] = {}
    # By archive, so that each is read once and let go.
    for (name, _), part in table.groupby(["source", "corpus"], sort=False):
        if name not in readers:
            source = settings.sources[name]
            readers[name] = corpus(source.kind).reader(archives, settings, source)
        for row in part.itertuples():
            yield _write(row, readers[name], settings, folder)


def _write(row: Any, reader: Reader, settings: Corpora, folder: Path) -> dict[str, Any]:
    target = settings.sample_rate
    wave, rate = reader(row)
    wave = files.band_limit(files.resample(wave, rate, target), target, settings.bandwidth_hz)
    part = files.trim_silence(wave, target, SILENCE)
    wave = wave[part]
    measured = {"id": row.id, "start": row.start + part.start / target, "seconds": len(wave) / target, "sample_rate": target}
    if not len(wave):
        return measured | {"sha256": "", "clip": ""}
    data = files.flac(wave, target, row.id)
    name = f"{row.id}.flac"
    (folder / name).write_bytes(data)
    return measured | {"sha256": hashlib.sha256(data).hexdigest(), "clip": f"{folder.name}/{name}"}
