"""The decode stage: the candidates of a shard as clips at one sample rate and one bandwidth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from agrepa.archives.containers import named
from agrepa.artifacts.files import read_table, write_table
from agrepa.audio import files
from agrepa.corpora import manifest as manifests
from agrepa.corpora import tolerance
from agrepa.corpora.kinds import Reader, corpus
from agrepa.errors import AudioError, CorpusError
from agrepa.job import In, Ins, Out, Wildcard
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora
    from agrepa.params.stages import DecodeSettings

SILENCE = -50.0  # dB of full scale; what is below at both ends is cut off: digital silence dominates FAD embeddings
COLUMNS = ("id", "start", "seconds", "sample_rate", "sha256", "clip", "problem")


def run(p: DecodeSettings, *, shard: Wildcard, candidates: In, archives: Ins, clips: Out, rows: Out) -> None:
    """Decode the candidates of one shard; those of one block are in one shard, and are read once.

    Silence at both ends is cut off. Both domains get the same low-pass at the same rate, so that neither can be told by its
    bandwidth. Levels are as recorded, but for clips that would be above full scale, which are scaled down as a whole.

    Writes ``<id>.flac`` of every clip that is not all silence, and COLUMNS of every candidate; ``clip`` is relative to the
    folder of ``rows``, in which ``clips`` must lie, and empty where there is no file. ``problem`` says why a recording could not
    be read, where its source tolerates some.

    Raises CorpusError or AudioError when an archive that the shard needs is missing, a recording is damaged and its source
    tolerates none, or the shard alone has more of them than its source tolerates in all.
    """
    if clips.parent != rows.parent:
        raise CorpusError(f"{rows} names clips relative to its own folder, and {clips} is in another: write both into one")
    everything = read_table(candidates)
    table = _shard(everything, int(shard), p.shards)
    clips.mkdir(parents=True, exist_ok=True)
    found = list(track(_decoded(table, p.corpora, named(archives), clips), "decode", total=len(table), unit="clip"))
    result = pd.DataFrame(found, columns=list(COLUMNS))
    for name, part in table.merge(result[["id", "problem"]], on="id").query("problem != ''").groupby("source"):
        problems = list(zip(part.file, part.problem, strict=True))
        tolerance.check(str(name), p.corpora.sources[str(name)], problems, int((everything.source == name).sum()), rows.name)
    write_table(rows, result)


def _shard(table: pd.DataFrame, k: int, n: int) -> pd.DataFrame:
    """The clips of every ``n``-th block from the ``k``-th on; what is in no block is one by itself."""
    block = table.block.where(table.block != "", table.id)
    return table[block.isin(manifests.shard(block.drop_duplicates(), k, n))]


def _decoded(table: pd.DataFrame, settings: Corpora, archives: dict[str, Path], folder: Path) -> Iterator[dict[str, Any]]:
    readers: dict[str, Reader] = {}
    # By archive, block and place in it, so that each is read once, forwards, and let go.
    for row in table.sort_values(["source", "corpus", "block", "file", "start"], kind="stable").itertuples():
        name = str(row.source)
        source = settings.sources[name]
        if name not in readers:
            readers[name] = corpus(source.kind).reader(archives, settings, source)
        try:
            wave, rate = readers[name](row)
        except AudioError as error:
            if not source.tolerate:
                raise
            nothing = {"seconds": 0.0, "sample_rate": settings.sample_rate, "sha256": "", "clip": ""}
            yield {"id": row.id, "start": row.start, **nothing, "problem": str(error)}
        else:
            yield _write(row, wave, rate, settings, folder) | {"problem": ""}


def _write(row: Any, wave: np.ndarray, rate: int, settings: Corpora, folder: Path) -> dict[str, Any]:
    target = settings.sample_rate
    if len(wave):  # a piece that begins behind the end of its recording has no samples
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
