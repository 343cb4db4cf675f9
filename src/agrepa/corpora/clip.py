"""What every corpus yields: a clip that prepare may decode, and the plain text by which transcripts are compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Domain = Literal["speech", "audio"]
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Clip:
    """A piece of a recording, not yet decoded.

    Attributes:
        id: ``[a-z0-9_]+``, unique, starts with the corpus.
        corpus: name of the corpus; the key of its archive in params/archives.yaml, or ``folder``.
        file: path of the recording within its archive or on disk.
        start: where the clip starts in the recording, in seconds.
        seconds: how long it is by the header; decoding may tell another length.
        family: what stays within one split and is resampled as one: the speaker of speech, the origin of a sound.
        parts: hashes of the recordings that it is made of.
        fixed: its split was given by a person, so it is never dropped in favour of another split.
        decode: gives float32 samples ``[N]`` and the sample rate in Hz.
    """

    id: str
    corpus: str
    domain: Domain
    split: Split
    file: str
    start: float
    seconds: float
    text: str
    speaker: str
    label: str
    family: str
    licence: str
    attribution: str
    parts: tuple[str, ...]
    decode: Callable[[], tuple[np.ndarray, int]] = field(repr=False)
    fixed: bool = False


def slug(*names: str) -> str:
    """Names as one word of ``[a-z0-9_]``, for ids and families."""
    return re.sub(r"[^a-z0-9]+", "_", " ".join(names).lower()).strip("_")


def plain(text: str) -> str:
    """A transcript without case, accents, punctuation and spacing: two transcripts with equal plain text say the same."""
    letters = unicodedata.normalize("NFKD", text.casefold().replace("'", "").replace("’", ""))
    return " ".join(re.findall(r"\w+", "".join(c for c in letters if not unicodedata.combining(c))))
