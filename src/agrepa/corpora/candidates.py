"""The candidates stage: which recordings the experiment may take, in the order in which it tries them. Nothing is decoded."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.archives.containers import named
from agrepa.artifacts.files import write_table
from agrepa.corpora import ordering, tolerance
from agrepa.corpora.clip import Clip, fits
from agrepa.corpora.kinds import corpus
from agrepa.errors import CorpusError
from agrepa.job import Ins, Out

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora
    from agrepa.params.stages import CorporaSettings

SPARE = 8  # candidates beyond the reserve, for splits so small that a part of them is less than a clip
COLUMNS = ("source", *(field.name for field in fields(Clip) if field.name not in ("parts", "problem")), "left_out")
UNUSABLE = ("source", "file", "problem")


def run(p: CorporaSettings, *, archives: Ins, out: Out, unusable: Out) -> None:
    """List the recordings that the experiment may take.

    Writes COLUMNS: a clip's fields, the source that it is from, and how many more clips its split and domain has beyond those
    listed. Of each, as many are listed as are asked for, ``corpora.reserve`` more as a part of these, and SPARE; and the
    prompts of those that are listed. A CSV, ``unusable``, names what is missing or damaged (UNUSABLE), as far as metadata tell.

    Raises CorpusError when a corpus is missing, damaged or broken, more of it is unusable than its source tolerates, two clips
    have one id, or a split would be empty.
    """
    found = [(name, clip) for name in p.corpora.sources for clip in _of(name, p.corpora, named(archives))]
    problems = [(name, clip.file, clip.problem) for name, clip in found if clip.problem]
    unusable.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(problems, columns=list(UNUSABLE)).to_csv(unusable, index=False)
    for name, source in p.corpora.sources.items():
        own = [(file, problem) for other, file, problem in problems if other == name]
        tolerance.check(name, source, own, sum(other == name for other, _ in found), unusable.name)
    usable = [(name, clip) for name, clip in found if not clip.problem and fits(clip.seconds, p.corpora)]
    write_table(out, pd.DataFrame(_rows(p.corpora, usable, p.seed), columns=list(COLUMNS)))


def _rows(settings: Corpora, found: list[tuple[str, Clip]], seed: int) -> Iterator[tuple[Any, ...]]:
    source = {clip.id: name for name, clip in found}
    if twice := [identity for identity, count in Counter(clip.id for _, clip in found).items() if count > 1]:
        raise CorpusError(f"{len(twice)} ids stand for more than one clip, the first is {twice[0]!r}: name the recordings apart")
    pool = ordering.without_leaks([clip for _, clip in found])
    prompting = {clip.prompt for clip in pool}
    prompting_clips = {clip.id: clip for clip in pool if clip.id in prompting}
    # The test split comes first: of two clips that turn out to be the same audio, training loses its one.
    for split in ordering.PRIORITY:
        ids, prompts = set(), {}
        for key, found_here in ordering.groups([c for c in pool if c.split == split]):
            clips, limit = ordering.ordered(found_here, seed), getattr(getattr(settings, split), key, 0)
            if not clips and limit != 0:
                raise CorpusError(
                    f"no {key} clip of {settings.min_seconds}-{settings.max_seconds} s for the {split} split in "
                    f"{', '.join(settings.sources)}: add recordings, or change corpora.sources, min_seconds or max_seconds"
                )
            listed = clips[: asked(limit, settings.reserve)]
            for clip in listed:
                ids.add(clip.id)
                if clip.prompt in prompting_clips:
                    prompts[clip.prompt] = replace(prompting_clips[clip.prompt], listing="prompt", prompt="")
                yield _row(source[clip.id], clip, len(clips) - len(listed))
        for clip in (prompt for identity, prompt in prompts.items() if identity not in ids):
            yield _row(source[clip.id], clip, 0)


def _row(source: str, clip: Clip, left_out: int) -> tuple[Any, ...]:
    return source, *(getattr(clip, name) for name in COLUMNS[1:-1]), left_out


def _of(name: str, settings: Corpora, archives: dict[str, Path]) -> list[Clip]:
    """The clips of a source; says how many are of a usable length by their header."""
    source = settings.sources[name]
    found = corpus(source.kind).clips(archives, settings, source)
    fitting = sum(fits(clip.seconds, settings) for clip in found if not clip.problem)
    print(f"candidates: {name}: {fitting} of {len(found)} clips are of a usable length", file=sys.stderr)
    return found


def asked(limit: int | None, reserve: float) -> int | None:
    """How many candidates a split lists of what it takes ``limit`` clips of; None for all."""
    return limit if not limit else math.ceil(limit * (1 + reserve)) + SPARE
