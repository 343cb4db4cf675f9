"""A user's own recordings, listed in a CSV: see docs/add-a-corpus.md."""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agrepa.audio import files
from agrepa.corpora import splits
from agrepa.corpora.clip import Clip, fits, plain, slug
from agrepa.corpora.kinds import Reader
from agrepa.corpora.manifest import SPLITS
from agrepa.domains import DOMAINS
from agrepa.errors import AudioError, CorpusError
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora, Source

COLUMNS = ("path", "text")
OPTIONAL = ("domain", "speaker", "label", "split", "licence", "attribution")
SHOWN = 20  # problems that a message lists
SILENT_PEAK = 1e-4  # -80 dB of full scale
KEYS = ("csv", "split_by", "split_seed", "shares", "shared_texts")
PER_FILE = True  # every file has an author and a licence of its own


def clips(archives: dict[str, Path], settings: Corpora, source: Source) -> list[Clip]:
    """Clips of every row, in the CSV's order; recordings longer than ``max_seconds`` are cut if they are not speech.

    Raises CorpusError with every row's problem (the first SHOWN): unknown domain or split, no split where none is drawn, speech
    without transcript, or without speaker unless the split is by utterance, a speaker or a transcript in two splits, audio that
    is missing, corrupt, truncated, empty, silent, of several channels, or at too low a sample rate.
    """
    listing = Path(str(source.csv))
    corpus = next(name for name, known in settings.sources.items() if known == source)
    rows = _rows(listing)
    problems = _left_empty(rows, source, corpus)
    usable: dict[int, tuple[dict[str, str], float, splits.Recording]] = {}
    for number, row in track(rows, "reading your recordings", unit="file"):
        found = _complaints(row)
        try:
            seconds, content = _inspect(listing.parent / row["path"], settings)
        except AudioError as error:
            found.append(str(error))
        problems += [(number, problem) for problem in found]
        if not found:
            speaker = row["speaker"] or (splits.UNKNOWN if row["domain"] == "speech" else "")
            fitting = row["domain"] == "audio" or fits(seconds, settings)
            about = (number, row["path"], row["domain"], row["text"], speaker, row["split"], content, fitting)
            usable[number] = row, seconds, splits.Recording(*about)
    recordings = [recording for _, _, recording in usable.values()]
    dropped, notes = splits.assign(recordings, source)
    problems += splits.leaks([recording for recording in recordings if recording.number not in dropped], source)
    if problems:
        told = [f"row {number}: {problem}" for number, problem in sorted(problems)]
        more = f"\nand {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        raise CorpusError(f"{listing}: {len(told)} problems:\n" + "\n".join(told[:SHOWN]) + more)
    if nameless := sum(r.domain == "speech" and r.speaker == splits.UNKNOWN for r in recordings):
        notes.append(f"{nameless} utterances name no speaker and count as those of one, {splits.UNKNOWN!r}")
    for note in notes:
        print(f"folder: {corpus}: {note}", file=sys.stderr)
    kept = [found for number, found in usable.items() if number not in dropped]
    return [clip for row, seconds, recording in kept for clip in _cut(row, recording, corpus, seconds, settings, source)]


def reader(archives: dict[str, Path], settings: Corpora, source: Source) -> Reader:
    """Decodes rows of the candidates table; AudioError when a recording is missing or damaged."""
    folder = Path(str(source.csv)).parent

    def decode(row: Any) -> tuple[np.ndarray, int]:
        # Speech is never cut, so that its length by the header does not matter.
        return files.read(folder / row.file, start=row.start, seconds=None if row.domain == "speech" else row.seconds)

    return decode


def listed(source: Source) -> list[str]:
    """The CSV and the recordings that it names, as inputs of the stages that read them and complain of those that are missing.

    Raises CorpusError when the CSV cannot be read.
    """
    listing = Path(str(source.csv))
    recordings = [listing.parent / row["path"] for _, row in _rows(listing)]
    return [str(listing), *dict.fromkeys(str(path) for path in recordings if path.is_file())]


def _rows(listing: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows with their line in the file, which counts from 1 with the header; what has a text and no domain is speech."""
    try:
        with listing.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            header = reader.fieldnames or []
            if missing := [column for column in COLUMNS if column not in header]:
                raise CorpusError(
                    f"{listing}: no column {', '.join(missing)}: the first row must name {' and '.join(COLUMNS)} "
                    f"(found: {', '.join(header) or 'nothing'})"
                )
            if unknown := [column for column in header if column not in (*COLUMNS, *OPTIONAL)]:
                raise CorpusError(f"{listing}: unknown column {', '.join(unknown)}: use {', '.join((*COLUMNS, *OPTIONAL))}")
            empty = dict.fromkeys(OPTIONAL, "")
            rows = [(reader.line_num, empty | {k: (v or "").strip() if k else "" for k, v in row.items()}) for row in reader]
    except FileNotFoundError:
        raise CorpusError(f"{listing}: no such file: csv in corpora.sources must name the CSV of your recordings") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{listing}: not a CSV in UTF-8 ({error}): save it again as one") from None
    if not rows:
        raise CorpusError(f"{listing}: lists no recordings: add a row for each")
    for _, row in rows:
        row["domain"] = row["domain"] or ("speech" if row["text"] else "audio")
    return rows


def _left_empty(rows: list[tuple[int, dict[str, str]]], source: Source, corpus: str) -> list[tuple[int, str]]:
    """What of the cells that may be empty is needed by this source, once each, at the first row that lacks it."""
    found = []
    key = f"corpora.sources.{corpus}"
    without = [(number, row["path"]) for number, row in rows if not row["split"]]
    if without and source.split_by is None:
        message = f"{len(without)} recordings have no split, from {without[0][1]} on: name one of {', '.join(SPLITS)} for each"
        found.append((without[0][0], f"{message}, or set split_by: speaker or utterance in {key}"))
    nameless = [(number, row["path"]) for number, row in rows if row["domain"] == "speech" and not row["speaker"]]
    if nameless and source.split_by != "utterance":
        message = f"{len(nameless)} utterances name no speaker, from {nameless[0][1]} on, and count as those of one"
        remedy = f"name the speaker of each, so that nobody is in two splits, or set split_by: utterance in {key}"
        found.append((nameless[0][0], f"{message}, {splits.UNKNOWN!r}: {remedy}"))
    return found


def _complaints(row: dict[str, str]) -> list[str]:
    name, found = row["path"] or "(no path)", []
    if None in row:  # where csv puts what is left over
        found.append(f"{name}: more cells than columns: put a text that has commas in quotation marks")
    for column, known in (("domain", DOMAINS), ("split", ("", *SPLITS))):
        if row[column] not in known:
            found.append(f"{name}: {column} {row[column]!r} is none of {', '.join(filter(None, known))}: correct it")
    if row["domain"] == "speech" and not plain(row["text"]):
        found.append(f"{name}: speech without a transcript (text {row['text']!r}): add what is said, or set domain to audio")
    return found


def _inspect(path: Path, settings: Corpora) -> tuple[float, str]:
    """Seconds and content hash of a recording; AudioError when it cannot be used."""
    wave, rate = files.read(path)
    if rate < 2 * settings.bandwidth_hz:
        raise AudioError(
            f"{path}: is at {rate} Hz and holds nothing up to bandwidth_hz {settings.bandwidth_hz:.0f}: "
            f"record at {2 * settings.bandwidth_hz:.0f} Hz or more, or lower corpora.bandwidth_hz to {rate / 2:.0f}"
        )
    if float(np.abs(wave).max()) < SILENT_PEAK:
        raise AudioError(f"{path}: is silent (peak {float(np.abs(wave).max()):.1g}): record it again or remove the row")
    return len(wave) / rate, hashlib.sha256(wave.tobytes()).hexdigest()


def _cut(
    row: dict[str, str], recording: splits.Recording, corpus: str, seconds: float, settings: Corpora, source: Source
) -> list[Clip]:
    speech, name = row["domain"] == "speech", recording.speaker
    identity = slug(corpus, f"{recording.number:04d}", Path(row["path"]).stem)
    # Split by utterance, a speaker is in every split, and sounds of that name are in one, so that they are families apart.
    family = slug(corpus, name, "" if speech or source.split_by != "utterance" else "sounds") if name else identity
    pieces = 1 if speech else max(1, int(np.ceil(seconds / settings.max_seconds)))
    result = []
    for index in range(pieces):
        start = index * settings.max_seconds
        length = seconds if speech else min(seconds - start, settings.max_seconds)
        result.append(
            Clip(
                id=identity + (f"_part{index + 1}" if index else ""),
                corpus=corpus,
                domain=row["domain"],  # type: ignore[arg-type]
                split=recording.split,  # type: ignore[arg-type]
                file=row["path"],
                start=start,
                seconds=length,
                text=row["text"] if speech else "",
                speaker=slug(corpus, name) if speech else "",
                label=row["label"] or row["domain"],
                family=family,
                licence=row["licence"],
                attribution=row["attribution"],
                parts=(f"{recording.content}@{index}",),
                listing="main" if speech and recording.split != "train" else "",
                fixed=bool(row["split"]),
            )
        )
    return result
