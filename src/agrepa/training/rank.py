"""One of the processes of a training: takes its job from the process that started it, and tells it how the job ended."""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
import threading
import time
import traceback

import torch.distributed as dist

from agrepa.errors import AgrepaError, Interrupted
from agrepa.training.processes import REPORT, TIMEOUT

SLURM = {"RANK": "SLURM_PROCID", "LOCAL_RANK": "SLURM_LOCALID", "GROUP_RANK": "SLURM_NODEID"}
INPUT = 0  # the descriptor of standard input


def main() -> None:
    """Run the job that stands on standard input."""
    for name, theirs in SLURM.items():
        os.environ.setdefault(name, os.environ.get(theirs, ""))
    # It comes from our own parent, through a pipe that no one else can write to.
    entry, p, given = pickle.loads(base64.b64decode(sys.stdin.buffer.readline()))  # noqa: S301
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    try:
        vars(entry)["__wrapped__"](p, **given)
    except AgrepaError as error:
        tell(str(error), error.status, expected=True)
    except BaseException as error:
        traceback.print_exc()
        tell(f"{type(error).__name__}: {error}", 1, expected=False)
    tell("", 0, expected=True)


def end_with_the_parent() -> None:
    """The parent holds the other end of the pipe open as long as it lives. Without it nobody would watch over this process."""
    while os.read(INPUT, 1):
        pass
    os._exit(1)


def tell(text: str, status: int, *, expected: bool) -> None:
    """Report the end, and end at once: what waits for the other processes may wait in vain.

    Where all have come to the same end, none goes before the others have got there, which may still be listening to it.
    """
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    report = {"text": text, "status": status, "expected": expected, "time": time.time()}
    store.set(REPORT.format(os.environ["RANK"]), json.dumps(report))
    if status in (0, Interrupted.status):
        store.wait([REPORT.format(rank) for rank in range(int(os.environ["WORLD_SIZE"]))], TIMEOUT)
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
