"""When a training has to leave before it is done: a signal, or the end of the time that it was given."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What a queue sends before it kills, and what one may be asked to send earlier (sbatch --signal)."""


class Notice:
    """While this lasts, a signal does not end the process, but is a reason to leave after the step at hand.

    Args:
        leave_by: seconds since the epoch. A step at whose middle there is no more time than for twice the longest so far is the
            last: for the rest of it and the middle of the next there might be too little. None is never.
    """

    def __init__(self, leave_by: float | None) -> None:
        self.leave_by, self.heard, self.longest = leave_by, "", 0.0

    def __enter__(self) -> Notice:
        self.before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        self.last = time.time()
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.heard = signal.Signals(number).name

    def lap(self) -> None:
        """A step has ended, with all that belongs to it."""
        now = time.time()
        self.longest, self.last = max(self.longest, now - self.last), now

    @property
    def reason(self) -> str:
        """Why to leave, or nothing."""
        late = self.leave_by is not None and time.time() + 2 * self.longest >= self.leave_by
        return self.heard or ("its time is nearly over" if late else "")
