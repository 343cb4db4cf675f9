"""Random streams that depend on a key alone."""

from __future__ import annotations

import hashlib

import torch


def generator(*key: object) -> torch.Generator:
    """A CPU random generator that depends on ``key`` alone, e.g. ``(seed, "noise", clip)``.

    Keyed streams make noise independent of batching, of the order of calls and of resuming.
    """
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
