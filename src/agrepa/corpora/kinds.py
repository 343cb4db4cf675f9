"""What a kind of corpus is: a module of this package, found by the name that the params give it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from agrepa.corpora.clip import Clip

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora, Source

Reader = Callable[[Any], tuple[np.ndarray, int]]


class Corpus(Protocol):
    """What the module has.

    Attributes:
        PER_FILE: whether its files have different authors, so that a credit names each.

    One that reads anything but archives also states its ``KEYS``, a literal, which loading the params looks at: the keys that
    such a source has. It has ``listed(source)``, the files that are inputs of the stages though no command names them.
    """

    PER_FILE: bool

    def clips(self, archives: dict[str, Path], settings: Corpora, source: Source) -> list[Clip]:
        """Every clip that there is, of any length, from metadata alone; CorpusError when it cannot be read.

        What is missing, or damaged by its header, is a clip with a ``problem``: it is counted against the source's ``tolerate``.
        """

    def reader(self, archives: dict[str, Path], settings: Corpora, source: Source) -> Reader:
        """Decodes rows of the candidates table: (float32 samples ``[N]``, sample rate in Hz), by file, start and seconds.

        An archive is read when the first row asks for it; rows of one archive, and of one block in it, come together and in
        order. AudioError where one recording cannot be read, CorpusError where more than that is wrong.
        """


def corpus(kind: str) -> Corpus:
    """The module of a kind, which the params have checked."""
    return cast(Corpus, importlib.import_module(f"agrepa.corpora.{kind}"))
