"""AudioSet as parquet files, ``data/<subset>/*.parquet``: the layout of agkphysics/AudioSet on the Hugging Face hub.

Columns: ``video_id``, ``audio`` (``bytes`` of a FLAC, and ``path``), ``labels`` (ids of classes), ``human_labels`` (their names).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agrepa.corpora.audioset_labels import Segment
from agrepa.errors import AudioError, CorpusError

LISTED = ("video_id", "labels", "human_labels")
AUDIO = "audio.bytes"
SECONDS = 10.0  # of a segment; only those of videos that end before are shorter
BATCH = 8  # rows that are decoded from a row group at a time
BUFFER = 1 << 20  # bytes of a column that are read from the disk at a time
DAMAGED = (pa.ArrowException, OSError, ValueError)


def paths(root: Path, subset: str) -> list[Path]:
    """The parquet files of a subset, sorted; none where the corpus is not in this layout."""
    return sorted((root / "data" / subset).glob("*.parquet"))


def segments(root: Path, subset: str) -> Iterator[Segment]:
    """The segments of a subset, row group by row group, in order; the column of the audio is not read.

    Raises CorpusError when a file is cut off, damaged, or lacks a column.
    """
    for path in paths(root, subset):
        below = path.relative_to(root).as_posix()
        file = _open(path)
        schema = file.schema_arrow
        if missing := [name for name in (*LISTED, "audio") if name not in schema.names]:
            raise CorpusError(f"{path}: has no column {', '.join(missing)}: is it of agkphysics/AudioSet?")
        for group in range(file.num_row_groups):
            block = f"{below}#{group:05d}"
            try:
                rows = file.read_row_group(group, columns=list(LISTED)).to_pylist()
            except DAMAGED as error:
                raise _damaged(path, error) from None
            for index, row in enumerate(rows):
                labels, names = (tuple(row[name] or ()) for name in ("labels", "human_labels"))
                yield Segment(subset, str(row["video_id"]), f"{block}/{index:06d}", block, SECONDS, labels, names)


class Rows:
    """The audio of rows, read forwards in batches, so that a row group is read once for all rows that are asked for in order."""

    def __init__(self, root: Path) -> None:
        self._root, self._block, self._index, self._audio = root, "", -1, b""
        self._rest: Iterator[bytes | None] = iter(())

    def audio(self, block: str, file: str) -> bytes:
        """The FLAC of a row by the names that ``segments`` gave it.

        Raises AudioError when the row has none, CorpusError when its row group is damaged or shorter.
        """
        wanted = int(file.rpartition("/")[2])
        if block != self._block or wanted < self._index:
            self._block, self._index, self._rest = block, -1, self._column(block)
        while self._index < wanted:
            audio = next(self._rest, None)
            self._index, self._audio = self._index + 1, audio or b""
        if not self._audio:
            raise AudioError(f"{file}: the row has no audio: download the file again")
        return self._audio

    def _column(self, block: str) -> Iterator[bytes | None]:
        below, _, group = block.rpartition("#")
        path = self._root / below
        try:
            file = _open(path)
            for batch in file.iter_batches(BATCH, row_groups=[int(group)], columns=[AUDIO], use_threads=False):
                for value in batch.column("audio").field("bytes"):
                    yield value.as_py()
        except DAMAGED as error:
            raise _damaged(path, error) from None


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing: download it again") from None
    except DAMAGED as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> CorpusError:
    return CorpusError(f"{path}: is cut off or no parquet file ({' '.join(str(error).split())[:200]}): download it again")
