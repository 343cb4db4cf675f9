"""AudioSet as a tree: the published lists of segments, and a folder of recordings for each.

``<subset>/<video>.flac`` beside ``balanced_train_segments.csv``, ``unbalanced_train_segments.csv``, ``eval_segments.csv`` and
``ontology.json``; a recording is the segment alone, and its name may have a Y before the video's id.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from agrepa.corpora.audioset_labels import Segment
from agrepa.errors import AudioError, CorpusError

LISTINGS = {
    "bal_train": "balanced_train_segments.csv",
    "unbal_train": "unbalanced_train_segments.csv",
    "eval": "eval_segments.csv",
}
SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")


def listing(root: Path, subset: str) -> Path:
    """The list of segments of a subset."""
    return root / LISTINGS[subset]


def segments(root: Path, subset: str) -> Iterator[Segment]:
    """The segments of a subset in the order of its list; one that has no recording has a ``problem``.

    Raises CorpusError when the list is missing, or a line is not ``YTID, start_seconds, end_seconds, positive_labels``.
    """
    path = listing(root, subset)
    recordings = {file.stem: file.name for file in (root / subset).glob("*") if file.suffix in SUFFIXES}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for number, cells in enumerate(csv.reader(stream, skipinitialspace=True), 1):
                if not cells or cells[0].startswith("#"):
                    continue
                try:
                    video, start, end, labels = cells
                    seconds = float(end) - float(start)
                except ValueError:
                    raise CorpusError(
                        f"{path}, line {number}: {', '.join(cells)!r} is not YTID, start_seconds, end_seconds, positive_labels: "
                        "download the list again"
                    ) from None
                name = recordings.get(video) or recordings.get(f"Y{video}")
                problem = "" if name else f"there is no recording of it in {root / subset}"
                file = f"{subset}/{name or video + SUFFIXES[0]}"
                yield Segment(subset, video, file, "", seconds, tuple(labels.split(",")), problem=problem)
    except FileNotFoundError:
        raise CorpusError(
            f"{path} is missing, and so are parquet files in {root / 'data' / subset}: root must name the folder of AudioSet"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: is not the list of segments ({error}): download it again") from None


def audio(path: Path) -> bytes:
    """The bytes of a recording; AudioError when it is missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise AudioError(f"{path}: no such audio file: run the candidates stage again") from None
