"""Licence and copyright holders of single files, from a package's own machine-readable copyright file (DEP-5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

ADDRESS = re.compile(r"\s*<?\S+@\S+")  # names are enough for a credit


@dataclass(frozen=True)
class Paragraph:
    """One ``Files:`` paragraph: shell patterns, the licence's short name, and who holds the copyright."""

    patterns: tuple[str, ...]
    licence: str
    holders: str


def parse(data: bytes) -> list[Paragraph]:
    """The ``Files:`` paragraphs of a copyright file, in its order."""
    paragraphs = []
    for block in re.split(r"\n\s*\n", data.decode("utf-8", "replace")):
        fields = dict(re.findall(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", block, re.MULTILINE))
        if "Files" not in fields:
            continue
        names = (ADDRESS.sub("", line).strip() for line in fields.get("Copyright", "").splitlines())
        holders = dict.fromkeys(name for name in names if name)
        licence = fields.get("License", "").strip().splitlines() or [""]
        paragraphs.append(Paragraph(tuple(fields["Files"].split()), licence[0].strip(), "; ".join(holders)))
    return paragraphs


def find(paragraphs: list[Paragraph], path: str) -> Paragraph | None:
    """The paragraph about a file: by the format's rule the last one that matches; ``*`` matches slashes too."""
    matching = [p for p in paragraphs if any(fnmatchcase(path, pattern) for pattern in p.patterns)]
    return matching[-1] if matching else None
