"""How every stage runs: whole-or-nothing outputs, and a run card that says where they came from."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agrepa.artifacts.files import sha256, write_json
from agrepa.errors import ArtifactError, ParamsError
from agrepa.job import State
from agrepa.params import Experiment
from agrepa.pipeline import arithmetic, keys
from agrepa.pipeline.file_lists import expand
from agrepa.pipeline.hashes import hash_of
from agrepa.pipeline.provenance import provenance
from agrepa.pipeline.signatures import signature
from agrepa.pipeline.source import source_hash
from agrepa.pipeline.stages import STAGES

WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)  # a training on several processes runs in children
STOP_AFTER = "AGREPA_STOP_AFTER"
"""Minutes that a job may take: of where it runs and not of what comes out, so it stands in the environment and not in params."""


def run(stage: str, experiment: Experiment, params: Path, given: dict[str, str], card: Path) -> None:
    """Run one job of a stage.

    Args:
        params: the file that the experiment came from, for the record.
        given: the stage's arguments as they stand on the command line.
        card: where the run card goes: parameters read, input and output hashes, source, commit, versions, hardware, cost.

    Raises ArtifactError when an input is missing or the job did not write an output, and what the stage raises.
    """
    arguments = signature(stage).arguments
    wildcards = {name: given[name] for name, kind in arguments.items() if kind == "Wildcard"}
    inputs = {name: expand(given[name]) for name, kind in arguments.items() if kind == "Ins"}
    inputs |= {name: [Path(given[name])] for name, kind in arguments.items() if kind == "In"}
    outputs = {name: Path(given[name]) for name, kind in arguments.items() if kind == "Out"}
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    for name, paths in inputs.items():
        for path in paths:
            if not path.exists():
                raise ArtifactError(f"{stage}: input {name} {path} does not exist: run the stage that writes it")
    consumed = {str(path): hash_of(path) for paths in inputs.values() for path in paths}
    parameters, source = keys.values(stage, experiment, wildcards), source_hash(stage, experiment, wildcards)
    identity = json.dumps([stage, wildcards, parameters, sorted(consumed.values()), source], sort_keys=True)
    fingerprint, leave_by = hashlib.sha256(identity.encode()).hexdigest(), end_of_time(time.time())
    states = {name: State(Path(given[name]), fingerprint, leave_by) for name in signature(stage).of("State")}
    module, _, function = STAGES[stage].entry.partition(":")
    with whole(stage, outputs) as places:
        entry = getattr(importlib.import_module(module), function)
        read: dict[str, Any] = {name: paths if arguments[name] == "Ins" else paths[0] for name, paths in inputs.items()}
        entry(keys.settings(stage, experiment, wildcards), **wildcards, **read, **places, **states)
        for name, path in outputs.items():
            if not places[name].exists():
                raise ArtifactError(f"{stage}: finished without writing {name} {path}")
        record = {
            "stage": stage,
            "does": signature(stage).does,
            "wildcards": wildcards,
            "params_file": str(params),
            "params": parameters,
            "inputs": consumed,
            "outputs": {str(path): sha256(places[name]) for name, path in outputs.items()},
            "bytes": {str(path): _size(places[name]) for name, path in outputs.items()},
            "seed": int(wildcards.get("seed", experiment.seed)),
            "threads": keys.threads(stage, experiment),
            "numerics": arithmetic.used(experiment.numerics),
            **(arithmetic.carried_out(experiment.training) if states and "training" in parameters else {}),
            "source": source,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 2),
            "peak_memory_mb": max(resource.getrusage(who).ru_maxrss for who in WHO) // 1024,
            **provenance(),
        }
    write_json(card, record)
    # Only now are the outputs in their place, and the state no longer needed.
    for state in states.values():
        shutil.rmtree(state.folder, ignore_errors=True)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def end_of_time(now: float) -> float | None:
    """The time before which a job that begins ``now`` has to leave, both in seconds since the epoch; None where nothing is said.

    Raises ParamsError when the environment says something that is no number of minutes.
    """
    text = os.environ.get(STOP_AFTER)
    if text is None:
        return None
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise ParamsError(f"{STOP_AFTER} is {text!r} in the environment: set it to a number of minutes above 0, or unset it")
    return now + 60 * minutes


@contextmanager
def whole(stage: str, outputs: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """Where to write each output: a folder of its own beside the final place, whence it is moved when all is done.

    A killed or failed job leaves nothing that looks finished.
    """
    scratch: dict[Path, Path] = {}
    try:
        for folder in {path.parent for path in outputs.values()}:
            folder.mkdir(parents=True, exist_ok=True)
            # A name of its own also where jobs on several machines share the file system.
            scratch[folder] = Path(tempfile.mkdtemp(prefix=f".partial-{stage}-", dir=folder))
        places = {name: scratch[path.parent] / path.name for name, path in outputs.items()}
        yield places
        for name, path in outputs.items():
            if path.is_dir():
                shutil.rmtree(path)
            places[name].replace(path)
    finally:
        for folder in scratch.values():
            shutil.rmtree(folder, ignore_errors=True)
