"""How every stage runs: whole-or-nothing outputs, and a run card that says where they came from."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from agrepa import params as schema
from agrepa import stages, threads
from agrepa.artifacts import sha256, write_json
from agrepa.errors import ArtifactError

LIBRARIES = ("agrepa", "torch", "torchaudio", "transformers", "ctranslate2", "numpy", "scipy", "pandas", "soundfile")


@contextmanager
def running(
    stage: str,
    params: Path,
    wildcards: dict[str, str],
    inputs: dict[str, list[Path]],
    outputs: dict[str, Path],
    card: Path,
) -> Iterator[tuple[Any, dict[str, Path]]]:
    """Run one job: yields (view of the experiment, where to write each output).

    Args:
        card: where the run card goes: parameters read, input and output hashes, source, commit, versions, hardware, cost.

    Outputs are written into a folder of their own beside their final place and moved there when the job has finished, so
    that a killed or failed job leaves nothing that looks finished.

    Raises ArtifactError when an input is missing or the job did not write an output.
    """
    experiment = schema.load(params)
    for name, paths in inputs.items():
        for path in paths:
            if not path.exists():
                raise ArtifactError(f"{stage}: input {name} {path} does not exist: run the stage that writes it")
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    scratch: dict[Path, Path] = {}
    try:
        for folder in {path.parent for path in outputs.values()}:
            folder.mkdir(parents=True, exist_ok=True)
            # A name of its own also where jobs on several machines share the file system.
            scratch[folder] = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
        consumed = {str(p): sha256(p) for paths in inputs.values() for p in paths}
        parameters, source = stages.values(stage, experiment, wildcards), stages.source_hash(stage, wildcards)
        fingerprint = [stage, wildcards, parameters, sorted(consumed.values()), source]
        view = stages.View(experiment, stages.keys(stage, wildcards), stage, fingerprint=fingerprint)
        yield view, {k: scratch[p.parent] / p.name for k, p in outputs.items()}
        for name, path in outputs.items():
            if not (scratch[path.parent] / path.name).exists():
                raise ArtifactError(f"{stage}: finished without writing {name} {path}")
        record = {
            "stage": stage,
            "wildcards": wildcards,
            "params_file": str(params),
            "params": parameters,
            "inputs": consumed,
            "outputs": {str(p): sha256(scratch[p.parent] / p.name) for p in outputs.values()},
            "seed": int(wildcards.get("seed", experiment.seed)),
            "threads": threads.of(stage, experiment),
            "source": source,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 2),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            **provenance(),
        }
        for final, folder in scratch.items():
            for item in folder.iterdir():
                target = final / item.name
                if target.is_dir():
                    shutil.rmtree(target)
                item.replace(target)
        write_json(card, record)
    finally:
        for folder in scratch.values():
            shutil.rmtree(folder, ignore_errors=True)


def provenance() -> dict[str, Any]:
    """Git commit and dirtiness, library versions and hardware. Git is null outside a repository."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        versions[name] = metadata.version(name)
    torch = sys.modules.get("torch")  # a stage that did not need it used no GPU, and importing it takes seconds
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
    return {
        "git": _git(),
        "versions": versions,
        "hardware": {"cpu": _cpu(), "cores": os.cpu_count(), "gpu": gpu, "system": platform.platform()},
    }


def _git() -> dict[str, Any] | None:
    def ask(*words: str) -> str | None:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    # Files that are not tracked count as well: a new module is code that the commit does not have.
    changed = ask("status", "--porcelain", "--", ":/Snakefile", ":/src", ":/workflow", ":/params", ":/requirements")
    return None if commit is None else {"commit": commit, "dirty": bool(changed)}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
