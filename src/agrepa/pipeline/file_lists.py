"""Lists of files as one short argument: thousands of shards would not fit into a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

RANGE = re.compile(r"\[(\d+)-(\d+)\]")
NUMBER = re.compile(r"(?<![0-9])\d+(?![0-9])")


def compact(paths: Iterable[str]) -> str:
    """Paths separated by spaces; neighbours that differ in one counting number become one: ``mel/[0-7].safetensors``."""
    words: list[str] = []
    for path in map(str, paths):
        if not words or not _joined(words, path):
            words.append(path)
    return " ".join(words)


def _joined(words: list[str], path: str) -> bool:
    """Whether the last word could be made to stand for ``path`` as well."""
    last = words[-1]
    for place in NUMBER.finditer(path):
        number, before, after = int(place[0]), path[: place.start()], path[place.end() :]
        if place[0] != str(number):
            continue
        if last == f"{before}{number - 1}{after}":
            words[-1] = f"{before}[{number - 1}-{number}]{after}"
            return True
        if RANGE.search(last) and last.startswith(f"{before}[") and last.endswith(f"-{number - 1}]{after}"):
            words[-1] = f"{before}[{RANGE.search(last)[1]}-{number}]{after}"  # type: ignore[index]
            return True
    return False


def expand(text: str) -> list[Path]:
    """Inverse of ``compact``."""
    found = []
    for word in text.split():
        place = RANGE.search(word)
        if place is None:
            found.append(Path(word))
        else:
            numbers = range(int(place[1]), int(place[2]) + 1)
            found += [Path(f"{word[: place.start()]}{number}{word[place.end() :]}") for number in numbers]
    return found
