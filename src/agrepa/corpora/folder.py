"""A user's own recordings, listed in a CSV: see docs/add-a-corpus.md."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agrepa.audio import files
from agrepa.corpora.clip import Clip, plain, slug
from agrepa.corpora.kinds import Reader
from agrepa.corpora.manifest import SPLITS
from agrepa.domains import DOMAINS
from agrepa.errors import AudioError, CorpusError
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora, Source

COLUMNS = ("path", "domain", "text", "speaker", "label", "split")
OPTIONAL = ("licence", "attribution")
SHOWN = 20  # problems that a message lists
SILENT_PEAK = 1e-4  # -80 dB of full scale
PER_FILE = True  # every file has an author and a licence of its own


def clips(archives: dict[str, Path], settings: Corpora, source: Source) -> list[Clip]:
    """Clips of every row, in the CSV's order; recordings longer than ``max_seconds`` are cut if they are not speech.

    Raises CorpusError with every row's problem (the first SHOWN): unknown domain or split, speech without transcript or
    speaker, audio that is missing, corrupt, truncated, empty, silent, of several channels, or at too low a sample rate.
    """
    listing = Path(str(source.csv))
    corpus = next(name for name, known in settings.sources.items() if known == source)
    rows = _rows(listing)
    result: list[Clip] = []
    problems: list[str] = []
    splits: dict[str, str] = {}
    for number, row in track(rows, "reading your recordings", unit="file"):
        found = _complaints(row, settings)
        if row["domain"] == "speech" and (first := splits.setdefault(row["speaker"], row["split"])) != row["split"]:
            found.append(f"{row['path']}: speaker {row['speaker']!r} is in more than one split, first in {first}: keep it in one")
        try:
            path = listing.parent / row["path"]
            seconds, parts = _inspect(path, settings)
        except AudioError as error:
            found.append(str(error))
        problems += [f"row {number}: {problem}" for problem in found]
        if not found:
            result += _cut(row, number, corpus, seconds, parts, settings)
    if problems:
        more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CorpusError(f"{listing}: {len(problems)} problems:\n" + "\n".join(problems[:SHOWN]) + more)
    return result


def reader(archives: dict[str, Path], settings: Corpora, source: Source) -> Reader:
    """Decodes rows of the candidates table; AudioError when a recording is missing or damaged."""
    folder = Path(str(source.csv)).parent

    def decode(row: Any) -> tuple[np.ndarray, int]:
        # Speech is never cut, so that its length by the header does not matter.
        return files.read(folder / row.file, start=row.start, seconds=None if row.domain == "speech" else row.seconds)

    return decode


def listed(listing: Path | str) -> list[str]:
    """The CSV and the recordings that it names, as inputs of the stages that read them and complain of those that are missing.

    Raises CorpusError when the CSV cannot be read.
    """
    recordings = [Path(listing).parent / row["path"] for _, row in _rows(Path(listing))]
    return [str(listing), *dict.fromkeys(str(path) for path in recordings if path.is_file())]


def _rows(listing: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows with their line in the file, which counts from 1 with the header."""
    try:
        with listing.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            header = reader.fieldnames or []
            if missing := [column for column in COLUMNS if column not in header]:
                raise CorpusError(
                    f"{listing}: no column {', '.join(missing)}: the first row must name {', '.join(COLUMNS)} "
                    f"(found: {', '.join(header) or 'nothing'})"
                )
            if unknown := [column for column in header if column not in (*COLUMNS, *OPTIONAL)]:
                raise CorpusError(f"{listing}: unknown column {', '.join(unknown)}: use {', '.join((*COLUMNS, *OPTIONAL))}")
            rows = [(reader.line_num, {k: (v or "").strip() if k else "" for k, v in row.items()}) for row in reader]
    except FileNotFoundError:
        raise CorpusError(f"{listing}: no such file: csv in corpora.sources must name the CSV of your recordings") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{listing}: not a CSV in UTF-8 ({error}): save it again as one") from None
    if not rows:
        raise CorpusError(f"{listing}: lists no recordings: add a row for each")
    return rows


def _complaints(row: dict[str, str], settings: Corpora) -> list[str]:
    name, found = row["path"] or "(no path)", []
    if None in row:  # where csv puts what is left over
        found.append(f"{name}: more cells than columns: put a text that has commas in quotation marks")
    for column, known in (("domain", DOMAINS), ("split", SPLITS)):
        if row[column] not in known:
            found.append(f"{name}: {column} {row[column]!r} is none of {', '.join(known)}: correct it")
    if row["domain"] == "speech" and not plain(row["text"]):
        found.append(f"{name}: speech without a transcript (text {row['text']!r}): add what is said, or set domain to audio")
    if row["domain"] == "speech" and not row["speaker"]:
        found.append(f"{name}: speech without a speaker: name one, so that no speaker is in two splits")
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


def _cut(row: dict[str, str], number: int, corpus: str, seconds: float, content: str, settings: Corpora) -> list[Clip]:
    speech = row["domain"] == "speech"
    identity = slug(corpus, f"{number:04d}", Path(row["path"]).stem)
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
                split=row["split"],  # type: ignore[arg-type]
                file=row["path"],
                start=start,
                seconds=length,
                text=row["text"] if speech else "",
                speaker=slug(corpus, row["speaker"]) if speech else "",
                label=row["label"] or row["domain"],
                family=slug(corpus, row["speaker"]) if row["speaker"] else identity,
                licence=row.get("licence", ""),
                attribution=row.get("attribution", ""),
                parts=(f"{content}@{index}",),
                listing="main" if speech and row["split"] != "train" else "",
                fixed=True,
            )
        )
    return result
