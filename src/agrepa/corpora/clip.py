"""What every corpus yields: a clip that may be decoded, and the plain text by which transcripts are compared."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora

Domain = Literal["speech", "audio"]
Split = Literal["train", "validation", "test"]
Listing = Literal["", "main", "unseen", "prompt"]
ROUNDING = 0.001  # seconds that resampling may add to a clip of the greatest length


@dataclass(frozen=True, slots=True)
class Clip:
    """A piece of a recording, not yet decoded.

    Attributes:
        id: ``[a-z0-9_]+``, unique, starts with the corpus.
        corpus: the archive in params/archives.yaml that it is read from, or the name of its source where that has no archive.
        file: what its corpus finds the recording by: a path within the archive or on disk.
        start: where the clip starts in the recording, in seconds.
        seconds: how long it is by the header; decoding may tell another length.
        family: what is left out as one when intervals are made, and stays within one split but for speech on main lists: the
            speaker of speech, the origin of a sound.
        parts: hashes of the recordings that it is made of.
        listing: of evaluated speech, whether it is of the main list, by utterance, of speakers that training never hears, or
            is there to prompt others and is not evaluated itself.
        fixed: its split was given by a person, so it is never dropped in favour of another split.
        prompt: id of the clip that prompts it, where a published list says so.
        block: what can only be read as a whole, such as a row group of a parquet file; one job decodes all clips of a block.
        problem: why it cannot be used, where that is known without decoding: the file is missing, or its header damaged.
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
    listing: Listing = ""
    fixed: bool = False
    prompt: str = ""
    block: str = ""
    problem: str = ""


def fits(seconds: float, settings: Corpora) -> bool:
    """Whether a clip is of a length that the experiment takes."""
    return settings.min_seconds <= seconds <= settings.max_seconds + ROUNDING


def slug(*names: str) -> str:
    """Names as one word of ``[a-z0-9_]``, for ids and families."""
    return re.sub(r"[^a-z0-9]+", "_", " ".join(names).lower()).strip("_")


def plain(text: str) -> str:
    """A transcript without case, accents, punctuation and spacing: two transcripts with equal plain text say the same."""
    letters = unicodedata.normalize("NFKD", text.casefold().replace("'", "").replace("’", ""))
    return " ".join(re.findall(r"\w+", "".join(c for c in letters if not unicodedata.combining(c))))
