"""The data file of Flight of the Amazon Queen: its index, its voice clips, and which line of text each clip speaks.

Layouts follow the game's engine (the Queen engine of ScummVM). Integers are big-endian.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agrepa.errors import CorpusError

BANK_HEADER = 20  # bytes before the payload of a .DOG, .CUT and .JAS resource
ENTRY_SIZE = 21
LEVEL_SIZE = 96  # bytes of one level of a dialogue tree
OBJECT = struct.Struct(
    ">17h"
)  # number, move x/y, bank, animation list, execute, 4 limits, special, type, source, x, y, room, scale
FRAME_SIZE = 18  # bytes of one animation frame after its object number
LAST_FRAME = -2
CAPTIONS = (-2, -3, -4)  # object numbers of text that no object on the screen speaks
VERBS = 12  # words on the command panel, before Joe's standard answers in QUEEN2.JAS
ANSWERS = 40
COMMAND = re.compile(r"\*(?:XY.{11}|.{2})", re.DOTALL)  # stage directions within a line; XY takes a position


@dataclass(frozen=True)
class Line:
    """A spoken line. ``speaker`` is a character, the name of the object that speaks, or "" where the game does not say."""

    stem: str
    speaker: str
    text: str


class Resources:
    """Named resources of ``queen.1c``.

    Raises CorpusError when the data are not the pinned game's.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self.name = data, name
        if data[:4] != b"QTBL" or len(data) < 15:
            raise CorpusError(f"{name}: queen.1c does not start with its table of contents: is it the pinned archive?")
        (count,) = struct.unpack_from(">H", data, 13)
        self._where: dict[str, tuple[int, int]] = {}
        for index in range(count):
            entry = data[15 + index * ENTRY_SIZE : 15 + (index + 1) * ENTRY_SIZE]
            if len(entry) < ENTRY_SIZE:
                raise CorpusError(f"{name}: the table of contents of queen.1c is cut off: fetch the archive again")
            _, offset, size = struct.unpack(">BII", entry[12:])
            if offset + size > len(data):
                raise CorpusError(f"{name}: queen.1c ends before its resource {entry[:12]!r}: fetch the archive again")
            self._where[entry[:12].rstrip(b"\0").decode("ascii")] = (offset, size)

    def __getitem__(self, name: str) -> bytes:
        if name not in self._where:
            raise CorpusError(f"{self.name}: queen.1c has no resource {name!r}: is it the pinned archive?")
        offset, size = self._where[name]
        return self._data[offset : offset + size]

    def names(self, suffix: str) -> list[str]:
        """Sorted names that end so, e.g. ``.DOG``."""
        return sorted(name for name in self._where if name.endswith(suffix))


def lines(resources: Resources) -> dict[str, Line]:
    """Every line that could have a clip, by the clip's stem (the clip's name without its segment number and ``.SB``)."""
    objects = _object_names(resources)
    found: dict[str, Line] = {}
    for name in resources.names(".DOG"):
        for line in _dialogue(resources[name][BANK_HEADER:], re.sub(r"\d", "", name.removesuffix(".DOG"))):
            found.setdefault(line.stem, line)  # LARIS.DOG has two items 32; the engine plays the first
    for name in resources.names(".CUT"):
        for line in _cut_scene(resources[name][BANK_HEADER:], name.removesuffix(".CUT"), objects):
            found[line.stem] = line
    for line in _remarks(resources):
        found[line.stem] = line
    return found


def segments(text: str) -> list[str]:
    """A line's text between stage directions; segment k (from 1) is spoken by the clip ``stem + hex(k)``."""
    return [part.strip() for part in COMMAND.split(text)]


def _string(data: bytes, offset: int, align: int) -> tuple[str, int]:
    """A string with its length in front, and the offset behind it; an empty one is not aligned."""
    length = data[offset]
    text = data[offset + 1 : offset + 1 + length].decode("latin-1")
    offset += 1 + length
    return text, offset + (-offset % align if length else 0)


def _dialogue(data: bytes, character: str) -> Iterator[Line]:
    """A .DOG: what Joe and one character say, and what they say when they meet again."""
    levels, _, key, joe_items, person_items = struct.unpack_from(">5h", data)
    person_block, again = struct.unpack_from(">H", data, 22)[0], struct.unpack_from(">H", data, 26)[0]
    blocks = (("J", "JOE", 32 + LEVEL_SIZE * abs(levels), joe_items), ("P", character, person_block, person_items))
    for letter, speaker, offset, count in blocks:
        for _ in range(count):
            (item,) = struct.unpack_from(">h", data, offset + 2)
            text, offset = _string(data, offset + 4, 4)
            if item == 0 and letter == "P":
                continue  # a copy of what Joe says when they meet again
            code = "SSSS" if item == 0 else f"{item:4x}"  # item 0 is how Joe starts the talk
            yield Line(f"{key:2d}{code}{letter}".replace(" ", "0").upper(), speaker, text)
    text, offset = _string(data, again, 2)
    yield Line(f"{key:2d}XXXXP".replace(" ", "0"), character, text)
    yield Line(f"{key:2d}XXXXJ".replace(" ", "0"), "JOE", _string(data, offset, 2)[0])


def _cut_scene(data: bytes, name: str, objects: list[str]) -> Iterator[Line]:
    """A .CUT: steps, each with an object that acts or speaks and one string. The first string belongs to no step."""
    count, text_offset = abs(struct.unpack_from(">h", data, 2)[0]), struct.unpack_from(">H", data, 8)[0]
    _, text_offset = _string(data, text_offset, 2)
    offset = 12
    for step in range(1, count + 1):
        number, _, _, _, animated, execute, *_, source, _, _, _, _ = OBJECT.unpack_from(data, offset)
        offset += OBJECT.size
        offset += 2 + 2 * struct.unpack_from(">h", data, offset)[0]  # the people who appear
        if number not in CAPTIONS and (number < 0 or animated) and source <= 0 and execute:
            while struct.unpack_from(">h", data, offset)[0] != LAST_FRAME:
                offset += 2 + FRAME_SIZE
            offset += 2
        text, text_offset = _string(data, text_offset, 2)
        yield Line(f"{name:_<5}{step:02d}", objects[number] if 0 <= number < len(objects) else "", text)


def _remarks(resources: Resources) -> Iterator[Line]:
    """QUEEN2.JAS: Joe's standard answers and what he says about objects."""
    rooms, names, _, descriptions = struct.unpack_from(">4H", resources["QUEEN.JAS"], BANK_HEADER)
    text = _jas_lines(resources)
    first = descriptions + names + rooms + VERBS
    for index, line in enumerate(text[first : first + ANSWERS], 1):
        yield Line(f"JOE{index:04d}", "JOE", line)
    for index, line in enumerate(text[:descriptions], 1):
        yield Line(f"JOE{index + ANSWERS:04d}", "JOE", line)


def _object_names(resources: Resources) -> list[str]:
    """The name of each object by its number, upper case with underscores; object 0 is Joe."""
    data = resources["QUEEN.JAS"]
    _, names, count, descriptions = struct.unpack_from(">4H", data, BANK_HEADER)
    table = _jas_lines(resources)[descriptions : descriptions + names]
    result = ["JOE"]
    for index in range(count):
        name = abs(struct.unpack_from(">h", data, BANK_HEADER + 8 + 16 * index)[0])  # negative while it is hidden
        result.append(re.sub(r"[^A-Z0-9]+", "_", table[name - 1].upper()).strip("_") if name else "")
    return result


def _jas_lines(resources: Resources) -> list[str]:
    return resources["QUEEN2.JAS"].decode("latin-1").split("\r\n")
