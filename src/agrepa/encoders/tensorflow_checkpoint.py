"""A reader of TensorFlow checkpoints (tensor bundles): names, shapes and numbers, without TensorFlow.

The ``.index`` file is a sorted string table: blocks of prefix-compressed (key, value) pairs, found through an index block
that the footer points to. Each value is a protocol-buffer record that says where in the ``.data`` file a tensor lies.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agrepa.errors import ArtifactError

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER = 48
BLOCK_TRAILER = 5  # a byte for the compression, four for a checksum
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?"}
# Fields of a BundleEntryProto, of its TensorShapeProto and of that one's dimensions.
DTYPE, SHAPE, SHARD, OFFSET, SIZE = 1, 2, 3, 4, 5
DIMENSION, DIMENSION_SIZE = 2, 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A base-128 number and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(record: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a protocol-buffer record; a nested record is bytes."""
    at = 0
    while at < len(record):
        tag, at = _varint(record, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(record, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(record, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        yield number, record[at : at + size]
        at += size


def _block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) pairs of the block that a handle (offset, size) points to."""
    offset, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    block, compression = table[offset : offset + size], table[offset + size]
    if compression:
        raise ValueError(f"block at {offset} is compressed (kind {compression})")
    restarts = int.from_bytes(block[-4:], "little")
    end, at, key = size - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + length]
        at += length


def _tensor(entry: bytes, data: bytes) -> np.ndarray | None:
    """The tensor that an entry describes, or None where its type is not a number (a string)."""
    fields: dict[int, int | bytes] = dict(_fields(entry))
    if fields.get(SHARD, 0):
        raise ValueError("more than one data file")
    kind = TYPES.get(int(fields.get(DTYPE, 0)))
    if kind is None:
        return None
    dimensions = [dict(_fields(bytes(value))) for number, value in _fields(bytes(fields.get(SHAPE, b""))) if number == DIMENSION]
    shape = [int(dimension.get(DIMENSION_SIZE, 0)) for dimension in dimensions]
    offset, size = int(fields.get(OFFSET, 0)), int(fields.get(SIZE, 0))
    return np.frombuffer(data[offset : offset + size], kind).reshape(shape)


def parse(index: bytes, data: bytes, source: str) -> dict[str, np.ndarray]:
    """All numeric tensors of a checkpoint in one data file, by name.

    Args:
        index: content of ``variables.index``.
        data: content of ``variables.data-00000-of-00001``.
        source: what to call the checkpoint in errors.

    Raises ArtifactError when the content is not a checkpoint of this kind, is damaged, or is compressed.
    """
    if not index.endswith(MAGIC):
        raise ArtifactError(f"{source} is not the index of a TensorFlow checkpoint: its last 8 bytes are {index[-8:].hex()!r}")
    try:
        footer = index[-FOOTER:]
        _, at = _varint(footer, 0)
        _, at = _varint(footer, at)  # two numbers: the handle of the table's (empty) meta index
        tensors = {}
        for _, handle in _block(index, footer[at:]):
            for key, entry in _block(index, handle):
                tensor = _tensor(entry, data) if key else None  # the empty key is the header
                if tensor is not None:
                    tensors[key.decode()] = tensor
    except (ValueError, IndexError) as error:
        raise ArtifactError(f"{source} is not a readable TensorFlow checkpoint ({error}): fetch it again") from None
    return tensors
