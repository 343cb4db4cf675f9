"""AudioSet (Gemmeke et al., ICASSP 2017): ten-second clips of general audio, from parquet files or from a tree of recordings."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agrepa.audio import files
from agrepa.corpora import audioset_parquet, audioset_tree, subsets
from agrepa.corpora.audioset_labels import Labels, Segment
from agrepa.corpora.clip import Clip, slug
from agrepa.corpora.kinds import Reader
from agrepa.errors import AudioError, CorpusError

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora, Source

PER_FILE = False  # two million files, whose authors the corpus does not name
KEYS = ("root", "subsets", "without", "tolerate")
SUBSETS = ("bal_train", "unbal_train", "eval")
LONGEST = 11.0  # seconds of a recording: a segment is of 10 at most, and encoders pad
LICENCE = "labels CC BY 4.0; recordings of their authors on YouTube"
CREDIT = "AudioSet, Google; authors on YouTube by video id"


def clips(archives: dict[str, Path], settings: Corpora, source: Source) -> list[Clip]:
    """Clips of every segment of the subsets, cut into pieces of ``max_seconds``, from ids and labels alone.

    How long a recording is, where it is shorter than its segment, only decoding tells. Segments that have a label of
    ``without`` are left out, and their number is printed. One without a recording is a clip with a ``problem``.

    Raises CorpusError when a subset is missing or its listing damaged, or a label of ``without`` is none.
    """
    own, root = subsets.name_of(settings, source), Path(str(source.root))
    labels = Labels.of(root, source.without)
    result: list[Clip] = []
    left_out = 0
    for subset in subsets.wanted(source):
        if subset not in SUBSETS:
            raise CorpusError(f"corpus {own} has no subset {subset!r}: choose from {', '.join(SUBSETS)}")
        for segment in _segments(root, subset):
            if labels.excluded(segment):
                left_out += 1
            else:
                result += _cut(segment, own, labels, settings, source)
    labels.check()
    if source.without:
        print(f"audioset: {own}: {left_out} segments left out for {', '.join(source.without)}", file=sys.stderr)
    return result


def reader(archives: dict[str, Path], settings: Corpora, source: Source) -> Reader:
    """Decodes rows of the candidates table, with a row group's audio in memory at most.

    A piece that begins behind the end of its recording has no samples. AudioError when a recording is missing, damaged or at
    too low a sample rate, CorpusError when a parquet file is.
    """
    root = Path(str(source.root))
    rows = audioset_parquet.Rows(root)

    def decode(row: Any) -> tuple[np.ndarray, int]:
        recording = rows.audio(row.block, row.file) if row.block else audioset_tree.audio(root / row.file)
        seconds, rate = files.length(recording, row.file)
        if rate < 2 * settings.bandwidth_hz:
            raise AudioError(f"{row.file}: is at {rate} Hz and holds nothing up to bandwidth_hz {settings.bandwidth_hz:.0f}")
        if seconds > LONGEST:
            raise AudioError(f"{row.file}: is of {seconds:.0f} s and no segment is: cut the segment out of its video")
        if row.start >= seconds:
            return np.zeros(0, np.float32), rate
        return files.read(recording, row.file, mix=True, start=row.start, seconds=row.seconds)

    return decode


def listed(source: Source) -> list[str]:
    """The parquet files, or the lists and folders of the subsets, as inputs of the stages that read them."""
    root = Path(str(source.root))
    found = [root / "ontology.json"]
    for subset in subsets.wanted(source):
        found += audioset_parquet.paths(root, subset) or [audioset_tree.listing(root, subset), root / subset]
    return [str(path) for path in found if path.exists()]


def _segments(root: Path, subset: str) -> Iterator[Segment]:
    return (
        audioset_parquet.segments(root, subset) if audioset_parquet.paths(root, subset) else audioset_tree.segments(root, subset)
    )


def _cut(segment: Segment, own: str, labels: Labels, settings: Corpora, source: Source) -> Iterator[Clip]:
    # Ids of videos tell upper from lower case and - from _, which ids of clips do not.
    video = slug(own, segment.video, hashlib.sha256(segment.video.encode()).hexdigest()[:8])
    index, start = 0, 0.0
    while index == 0 or segment.seconds - start >= settings.min_seconds:
        yield Clip(
            id=video + (f"_part{index + 1}" if index else ""),
            corpus=own,
            domain="audio",
            split=subsets.split_of(segment.subset, segment.video, subsets.chosen(source)),
            file=segment.file,
            start=start,
            seconds=min(segment.seconds - start, settings.max_seconds),
            text="",
            speaker="",
            label=labels.name(segment),
            family=video,
            licence=LICENCE,
            attribution=CREDIT,
            parts=(f"{segment.video}@{index}",),
            block=segment.block,
            problem=segment.problem,
        )
        if segment.problem:
            return
        index, start = index + 1, start + settings.max_seconds
