"""The candidates stage: which recordings the experiment may take, in the order in which it tries them. Nothing is decoded."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.archives.containers import named
from agrepa.artifacts.files import write_table
from agrepa.corpora import ordering
from agrepa.corpora.clip import Clip, fits
from agrepa.corpora.kinds import corpus
from agrepa.errors import CorpusError
from agrepa.job import Ins, Out

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora
    from agrepa.params.stages import CorporaSettings

SPARE = 8  # candidates beyond the reserve, for splits so small that a part of them is less than a clip
COLUMNS = ("source", *(field.name for field in fields(Clip) if field.name != "parts"), "left_out")


def run(p: CorporaSettings, *, archives: Ins, out: Out) -> None:
    """List the recordings that the experiment may take.

    Writes COLUMNS: a clip's fields, the source that it is from, and how many more clips its split and domain has beyond those
    listed. Of each, as many are listed as are asked for, ``corpora.reserve`` more as a part of these, and SPARE.

    Raises CorpusError when a corpus is missing, damaged or broken, two clips have one id, or a split would be empty.
    """
    write_table(out, pd.DataFrame(_rows(p.corpora, named(archives), p.seed), columns=list(COLUMNS)))


def _rows(settings: Corpora, archives: dict[str, Path], seed: int) -> Iterator[tuple[Any, ...]]:
    found = [(name, clip) for name in settings.sources for clip in _usable(name, settings, archives)]
    source = {clip.id: name for name, clip in found}
    if twice := [identity for identity, count in Counter(clip.id for _, clip in found).items() if count > 1]:
        raise CorpusError(f"{len(twice)} ids stand for more than one clip, the first is {twice[0]!r}: name the recordings apart")
    pool = ordering.without_leaks([clip for _, clip in found])
    # The test split comes first: of two clips that turn out to be the same audio, training loses its one.
    for split in ordering.PRIORITY:
        for key, found_here in ordering.groups([c for c in pool if c.split == split]):
            clips, limit = ordering.ordered(found_here, seed), getattr(getattr(settings, split), key, 0)
            if not clips and limit != 0:
                raise CorpusError(
                    f"no {key} clip of {settings.min_seconds}-{settings.max_seconds} s for the {split} split in "
                    f"{', '.join(settings.sources)}: add recordings, or change corpora.sources, min_seconds or max_seconds"
                )
            listed = clips[: asked(limit, settings.reserve)]
            for clip in listed:
                yield source[clip.id], *(getattr(clip, name) for name in COLUMNS[1:-1]), len(clips) - len(listed)


def _usable(name: str, settings: Corpora, archives: dict[str, Path]) -> list[Clip]:
    """The clips of a source that are of a usable length by their header."""
    source = settings.sources[name]
    found = corpus(source.kind).clips(archives, settings, source)
    fitting = [clip for clip in found if fits(clip.seconds, settings)]
    print(f"candidates: {name}: {len(fitting)} of {len(found)} clips are of a usable length", file=sys.stderr)
    return fitting


def asked(limit: int | None, reserve: float) -> int | None:
    """How many candidates a split lists of what it takes ``limit`` clips of; None for all."""
    return limit if not limit else math.ceil(limit * (1 + reserve)) + SPARE
