"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere. Both go to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 15.0


def track(items: Iterable[T], label: str, total: int | None = None, unit: str = "it", done: int = 0) -> Iterator[T]:
    """Yield ``items`` while showing how many are done, the rate and the time left.

    Args:
        total: how many there are in all, when ``items`` has no length.
        done: how many of ``total`` were finished before this call.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else None
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, total=total, unit=unit, initial=done)
        return
    start = last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or done + count == total:
            last, rate = now, count / max(now - start, 1e-9)
            left = f", {(total - done - count) / rate:.0f} s left" if total else ""
            print(f"{label}: {done + count}/{total or '?'} {unit}, {rate:.2f} {unit}/s{left}", file=sys.stderr, flush=True)
