"""LibriSpeech (Panayotov et al., ICASSP 2015; OpenSLR 12): read English speech, from its archives or an unpacked tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from agrepa.archives.containers import read_at, tar_files
from agrepa.audio import files
from agrepa.corpora import prompt_pairs, subsets
from agrepa.corpora.clip import Clip, slug
from agrepa.corpora.kinds import Reader
from agrepa.errors import AudioError, CorpusError

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora, Source

PER_FILE = False  # one licence for all
KEYS = ("archives", "root", "subsets", "pairs", "tolerate")
RATE = 16000
LICENCE = "CC BY 4.0"
READ, SPEAKERS, TRANSCRIPTS = ".flac", "SPEAKERS.TXT", ".trans.txt"
SPAN = re.compile(r":(\d+)\+(\d+)$")  # where in its archive a recording is: offset and size in bytes


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the corpus: ``path`` below its top folder, ``file`` by which the reader finds it, and its first bytes, or all
    of a text.
    """

    corpus: str
    path: PurePosixPath
    file: str
    data: bytes


def clips(archives: dict[str, Path], settings: Corpora, source: Source) -> list[Clip]:
    """Every utterance of the subsets, in the order of their ids, with its upper-case transcript.

    Of a FLAC only the header is read, which has the length and a hash of the samples. An utterance without recording, without
    transcript or with a damaged header is a clip with a ``problem``. ``pairs`` narrows the test split to its utterances.

    Raises CorpusError when an archive, folder or subset is missing or damaged, the corpus holds nothing up to the bandwidth, or
    pairs names what is not there.
    """
    if 2 * settings.bandwidth_hz > RATE:
        raise CorpusError(
            f"corpus librispeech is recorded at {RATE} Hz and holds nothing up to bandwidth_hz {settings.bandwidth_hz}: "
            f"lower corpora.bandwidth_hz to {RATE / 2:.0f} or less"
        )
    own = subsets.name_of(settings, source)
    recordings: dict[str, Found] = {}
    texts: dict[str, tuple[Found, str]] = {}
    readers: dict[str, str] = {}
    for found in _found(archives, source, own):
        if found.path.name == SPEAKERS:
            readers |= _readers(found)
        elif found.path.name.endswith(TRANSCRIPTS):
            texts |= {utterance: (found, text) for utterance, text in _transcripts(found)}
        else:
            recordings[found.path.stem] = found
    present = {found.path.parts[0] for found in recordings.values()}
    if absent := [subset for subset in subsets.wanted(source) if subset not in present]:
        raise CorpusError(
            f"corpus {own} has no recordings of {', '.join(absent)}: correct subsets, or add its archive or folder "
            f"(there are {', '.join(sorted(present)) or 'none'})"
        )
    result = []
    for utterance in sorted(recordings.keys() | texts.keys()):
        listed, text = texts.get(utterance, (None, ""))
        result.append(_clip(utterance, recordings.get(utterance), listed, text, own, readers, source))
    return prompt_pairs.narrowed(result, source, settings) if source.pairs else result


def reader(archives: dict[str, Path], settings: Corpora, source: Source) -> Reader:
    """Decodes rows of the candidates table, one recording in memory at a time; AudioError when it is damaged or missing."""

    def decode(row: Any) -> tuple[np.ndarray, int]:
        if source.root is not None:
            return files.read(Path(source.root) / row.file)
        span = SPAN.search(row.file)
        if span is None:
            raise CorpusError(f"{row.file} is not in an archive: run the candidates stage again")
        return files.read(read_at(_archive(archives, row.corpus), int(span[1]), int(span[2])), f"{row.corpus}: {row.file}")

    return decode


def listed(source: Source) -> list[str]:
    """The folders of the subsets and the list of pairs, as inputs of the stages that read them."""
    folders = [Path(source.root) / subset for subset in subsets.wanted(source)] if source.root else []
    return [str(path) for path in [*folders, *([Path(source.pairs)] if source.pairs else [])] if path.exists()]


def _clip(
    utterance: str, recording: Found | None, listing: Found | None, text: str, own: str, readers: dict[str, str], source: Source
) -> Clip:
    """An utterance, of which a recording, a transcript or both were found."""
    there = recording or listing
    if there is None:
        raise ValueError(f"{utterance}: neither a recording nor a transcript")
    subset, speaker = there.path.parts[0], there.path.parts[1]
    family = slug(own, speaker)
    split = subsets.split_of(subset, family, subsets.chosen(source))
    seconds, content, problem = 0.0, "", ""
    if recording is None:
        problem = f"its recording is missing, {there.path} has its transcript"
    elif not text:
        problem = f"has no transcript in {speaker}-{recording.path.parts[2]}{TRANSCRIPTS}"
    else:
        try:
            seconds, _, content = files.flac_header(recording.data, recording.path.name)
        except AudioError as error:
            problem = str(error)
    return Clip(
        id=slug(there.corpus, utterance),
        corpus=there.corpus,
        domain="speech",
        split=split,
        file=recording.file if recording else str(there.path.with_name(f"{utterance}{READ}")),
        start=0.0,
        seconds=seconds,
        text=text,
        speaker=family,
        label="speech",
        family=family,
        licence=LICENCE,
        attribution=f"LibriSpeech, read by {readers.get(speaker, f'speaker {speaker}')} for LibriVox",
        parts=(content if content.strip("0") else utterance,),
        listing="" if split == "train" else "main",
        problem=problem,
    )


def _found(archives: dict[str, Path], source: Source, own: str) -> Iterator[Found]:
    """The recordings and transcripts of the subsets, and the list of speakers."""
    names = subsets.wanted(source)
    if source.root is not None:
        root = Path(source.root)
        for path in [*root.glob(SPEAKERS), *(p for name in names for p in sorted((root / name).glob("*/*/*")))]:
            if _is_read(path.name):
                with path.open("rb") as stream:
                    data = stream.read(files.FLAC_HEADER if path.suffix == READ else -1)
                below = PurePosixPath(path.relative_to(root))
                yield Found(own, below, str(below), data)
    for archive in source.archives:
        path = _archive(archives, archive)
        for member, offset, size in tar_files(path):
            below = PurePosixPath(*PurePosixPath(member).parts[1:])
            if _is_read(below.name) and (below.name == SPEAKERS or (len(below.parts) == 4 and below.parts[0] in names)):
                data = read_at(path, offset, min(size, files.FLAC_HEADER) if below.suffix == READ else size)
                yield Found(archive, below, f"{member}:{offset}+{size}", data)


def _is_read(name: str) -> bool:
    return name == SPEAKERS or name.endswith((READ, TRANSCRIPTS))


def _transcripts(found: Found) -> Iterator[tuple[str, str]]:
    """Id and text of each line; CorpusError when it is not UTF-8 or a line has no text."""
    for number, line in enumerate(_text(found).splitlines(), 1):
        utterance, _, text = line.strip().partition(" ")
        if utterance and not text:
            raise CorpusError(f"{found.corpus}: {found.path}, line {number}: {line!r} is no id with its text: download it again")
        if utterance:
            yield utterance, text


def _readers(found: Found) -> dict[str, str]:
    """The names of the readers by their numbers: ``14 | F | train-clean-360 | 25.03 | Kristin LeMoine``."""
    lines = [line.split("|", 4) for line in _text(found).splitlines() if not line.startswith(";")]
    return {cells[0].strip(): cells[4].strip() for cells in lines if len(cells) == 5}


def _text(found: Found) -> str:
    try:
        return found.data.decode()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{found.corpus}: {found.path} is not in UTF-8 ({error}): download it again") from None


def _archive(archives: dict[str, Path], name: str) -> Path:
    if name not in archives:
        raise CorpusError(f"corpus librispeech needs archive {name}: run agrepa fetch --archive {name} and pass the file")
    return archives[name]
