"""Licence and copyright holders of single files, from a package's own machine-readable copyright file (DEP-5)."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

from debian.copyright import Copyright, Error

from agrepa.errors import CorpusError

ADDRESS = re.compile(r"\s*<?\S+@\S+")  # names are enough for a credit
# Old packages name the format by an address that has moved, which matters to nobody who reads a log here.
logging.getLogger("debian.copyright").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Paragraph:
    """One ``Files:`` paragraph: shell patterns, the licence's short name, and who holds the copyright."""

    patterns: tuple[str, ...]
    licence: str
    holders: str


def parse(data: bytes, name: str) -> Copyright:
    """A copyright file; CorpusError, which names ``name``, when it is not machine-readable."""
    try:
        found = Copyright(data.decode("utf-8", "replace").splitlines(keepends=True), strict=False)
        for paragraph in found.all_files_paragraphs():
            paragraph.files_pattern()  # complains of patterns that are none
    except (Error, ValueError) as error:
        raise CorpusError(f"{name}: its copyright file cannot be read ({error}): is it the pinned archive?") from None
    return found


def find(copyrights: Copyright, path: str) -> Paragraph | None:
    """The paragraph about a file: by the format's rule the last one that matches; ``*`` matches slashes too."""
    found: Any = copyrights.find_files_paragraph(path)
    if found is None:
        return None
    names = (ADDRESS.sub("", line).strip() for line in (found.copyright or "").splitlines())
    holders = dict.fromkeys(name for name in names if name)
    return Paragraph(tuple(found.files), found.license.synopsis.strip() if found.license else "", "; ".join(holders))
