"""General audio: the sounds of four Debian packages, with a class, an origin and a licence for every file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agrepa.audio import files
from agrepa.corpora.clip import Clip, Split, slug
from agrepa.corpora.game_sound_labels import label
from agrepa.corpora.game_sound_packages import PACKAGES, Sound, contents, sounds
from agrepa.corpora.kinds import Reader
from agrepa.errors import CorpusError

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora, Source

PER_FILE = True  # every file has an author and a licence of its own
MAX_PIECES = 6  # clips taken of one long sound, so that a few ambiences do not fill a split
SPLITS: tuple[tuple[float, Split], ...] = ((0.80, "train"), (0.88, "validation"), (1.0, "test"))


def clips(archives: dict[str, Path], settings: Corpora, source: Source) -> list[Clip]:
    """Clips of all splits: sounds up to ``max_seconds``, and up to MAX_PIECES consecutive pieces of longer ones.

    Sounds without samples, and those recorded at less than twice the bandwidth, are left out.

    Raises CorpusError when an archive is missing or damaged, or a sound has no class.
    """
    paths = {package: _archive(archives, package) for package in sorted(source.archives)}
    return [clip for package, path in paths.items() for clip in cut(sounds(package, path), settings)]


def cut(found: Iterable[Sound], settings: Corpora) -> list[Clip]:
    """The clips of some sounds; see ``clips``."""
    result = []
    for sound in found:
        seconds, rate = files.length(sound.data, f"{sound.package}: {sound.name}")
        if rate < 2 * settings.bandwidth_hz:
            continue
        family = slug(sound.package, sound.origin)
        for index in range(MAX_PIECES):
            start = index * settings.max_seconds
            length = min(seconds - start, settings.max_seconds)
            if length < settings.min_seconds:
                break
            result.append(
                Clip(
                    id=slug(sound.package, sound.key) + (f"_part{index + 1}" if index else ""),
                    corpus=sound.package,
                    domain="audio",
                    split=split(family),
                    file=sound.name,
                    start=start,
                    seconds=length,
                    text="",
                    speaker="",
                    label=label(sound.package, sound.caption),
                    family=family,
                    licence=sound.licence,
                    attribution=sound.holders,
                    parts=(f"{hashlib.sha256(sound.data).hexdigest()}@{index}",),
                )
            )
    return result


def split(family: str) -> Split:
    """A family's split, from its name alone, so that it never changes when sounds are added."""
    place = int.from_bytes(hashlib.sha256(family.encode()).digest()[:8]) / 2**64
    return next(name for end, name in SPLITS if place < end)


def reader(archives: dict[str, Path], settings: Corpora, source: Source) -> Reader:
    """Decodes rows of the candidates table, with one package in memory at a time.

    Raises CorpusError when a row's archive is missing, damaged or lacks its sound.
    """

    @lru_cache(maxsize=1)
    def recordings(package: str) -> dict[str, bytes]:
        return contents(package, _archive(archives, package)).sounds

    def decode(row: Any) -> tuple[np.ndarray, int]:
        data = recordings(row.corpus).get(row.file)
        if data is None:
            raise CorpusError(f"{archives[row.corpus]} has no sound {row.file}: run the candidates stage again")
        return files.read(data, row.file, mix=True, start=row.start, seconds=row.seconds)

    return decode


def _archive(archives: dict[str, Path], package: str) -> Path:
    if package not in PACKAGES:
        raise CorpusError(f"corpus game_sounds cannot read archive {package!r}: it knows {', '.join(PACKAGES)}")
    if package not in archives:
        raise CorpusError(f"corpus game_sounds needs archive {package}: run agrepa fetch --archive {package} and pass the file")
    return archives[package]
