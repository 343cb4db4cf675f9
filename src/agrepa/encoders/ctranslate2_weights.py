"""A reader of CTranslate2 models (binary version 6): names, shapes and numbers, no code."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from agrepa.errors import ArtifactError

VERSION = 6
# The order is the format's numbering of types. numpy has no bfloat16: its bits are read as integers and widened.
TYPES = ("<f4", "i1", "<i2", "<i4", "<f2", "<u2")
BFLOAT16 = 5


class _Cursor:
    """Reads one field after the other of a little-endian file."""

    def __init__(self, data: bytes, source: str) -> None:
        self.data, self.source, self.at = memoryview(data), source, 0

    def take(self, size: int) -> memoryview:
        if self.at + size > len(self.data):
            raise ArtifactError(
                f"{self.source} ends after {len(self.data)} bytes, in the middle of a field at {self.at}: fetch it again"
            )
        self.at += size
        return self.data[self.at - size : self.at]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def text(self) -> str:
        (size,) = self.unpack("H")
        return bytes(self.take(size)).rstrip(b"\0").decode()


def parse(data: bytes, source: str) -> dict[str, np.ndarray]:
    """All variables of a ``model.bin``, by name; aliases share the array that they stand for.

    Args:
        data: the file's content.
        source: what to call it in errors.

    Raises ArtifactError when the content is truncated, has trailing bytes or another version, or contradicts itself.
    """
    cursor = _Cursor(data, source)
    (version,) = cursor.unpack("I")
    if version != VERSION:
        raise ArtifactError(f"{source} has CTranslate2 binary version {version}, expected {VERSION}")
    cursor.text()  # the model's class, e.g. WhisperSpec
    cursor.unpack("I")  # the class's revision
    variables = {}
    (count,) = cursor.unpack("I")
    for _ in range(count):
        name = cursor.text()
        (rank,) = cursor.unpack("B")
        shape = cursor.unpack(f"{rank}I")
        kind, size = cursor.unpack("BI")
        raw = cursor.take(size)
        if kind >= len(TYPES) or size != np.dtype(TYPES[kind]).itemsize * int(np.prod(shape, dtype=np.int64)):
            raise ArtifactError(
                f"{source}: variable {name!r} of type {kind} and shape {shape} cannot have {size} bytes: fetch it again"
            )
        array = np.frombuffer(raw, TYPES[kind])
        if kind == BFLOAT16:
            array = (array.astype("<u4") << 16).view("<f4")
        variables[name] = array.reshape(shape)
    (count,) = cursor.unpack("I")
    for _ in range(count):
        alias, name = cursor.text(), cursor.text()
        variables[alias] = variables[name]
    if cursor.at != len(data):
        raise ArtifactError(f"{source} has {len(data) - cursor.at} bytes after its last variable: fetch it again")
    return variables
