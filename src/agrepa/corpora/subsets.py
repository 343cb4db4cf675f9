"""Which split each part of a published corpus belongs to."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from agrepa.corpora.clip import Split
from agrepa.errors import CorpusError

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora, Source, Subsets

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def name_of(settings: Corpora, source: Source) -> str:
    """The name that the params give to a source."""
    return next(name for name, known in settings.sources.items() if known == source)


def chosen(source: Source) -> Subsets:
    """The subsets of a source; CorpusError when it names none."""
    if source.subsets is None:
        raise CorpusError(f"a source of kind {source.kind} needs subsets: say which of its parts train, validate and test")
    return source.subsets


def wanted(source: Source) -> list[str]:
    """The names of all subsets that a source takes, each once, in the order of the splits."""
    return list(dict.fromkeys(subset for split in SPLITS for subset in getattr(chosen(source), split)))


def split_of(subset: str, family: str, subsets: Subsets) -> Split:
    """The split of a clip: that of its subset, or one of two that share the subset, by the hash of the clip's family.

    The hash is of the name alone, so that a split never changes when recordings are added or found missing.
    """
    sharing = [split for split in SPLITS if subset in getattr(subsets, split)]
    return sharing[int.from_bytes(hashlib.sha256(family.encode()).digest()[:8]) * len(sharing) >> 64]
