"""What a stage's entry point looks like: the kinds of its arguments.

An entry point is ``run(p, *, …)`` with a settings object of ``agrepa.params.stages`` and keyword arguments whose annotation says
what each of them is. The command line, the rules' shell lines and the run cards follow from this signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

Wildcard = Annotated[str, "wildcard"]  # which job of the stage this is
In = Annotated[Path, "input"]  # one file or folder that the job reads
Ins = Annotated[list[Path], "inputs"]  # any number of them
Out = Annotated[Path, "output"]  # a file or folder that the job writes, whole or not at all


@dataclass(frozen=True)
class State:
    """Where a job keeps what it can resume from, outside its outputs.

    Attributes:
        folder: emptied once the outputs are in their place.
        fingerprint: of everything that the job's result depends on; work of another fingerprint must not be resumed.
        leave_by: the time, in seconds since the epoch, before which the job has to leave; None is never.
    """

    folder: Path
    fingerprint: str
    leave_by: float | None = None
