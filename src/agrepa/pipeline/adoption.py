"""Two engines over one workspace: let Snakemake accept what DVC has just built, and the other way round.

Adoption is blind in both engines, so it is done only when the engine that did the work has nothing left to do.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agrepa.errors import AgrepaError
from agrepa.pipeline import dvc

NOTHING = "Nothing to be done"


class AdoptionError(AgrepaError):
    """The other engine is not up to date, so there is nothing that could be adopted."""


def _call(engine: str, *words: str) -> subprocess.CompletedProcess[str]:
    # The engines live beside this interpreter, whether or not its environment is activated.
    program = Path(sys.executable).with_name(engine)
    return subprocess.run([str(program), *words], capture_output=True, text=True, check=False)


def snakemake_pending(params: Path) -> str:
    """What Snakemake would still do, or the empty string. AdoptionError when it cannot say."""
    done = _call("snakemake", "--dry-run", "--cores", "1", "--config", f"params={params}")
    text = done.stdout + done.stderr
    if done.returncode != 0:
        raise AdoptionError(f"snakemake --dry-run failed:\n{text[-2000:]}")
    return "" if NOTHING in text else _stats(text)


def dvc_pending() -> str:
    """What DVC would still do, or the empty string. AdoptionError when it cannot say."""
    done = _call("dvc", "status")
    if done.returncode != 0:
        raise AdoptionError(f"dvc status failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return "" if "up to date" in done.stdout else done.stdout[:2000]


def adopt(engine: str, params: Path) -> str:
    """Make ``engine`` ("snakemake" or "dvc") take the workspace as its own up-to-date state; returns what was done.

    Raises AdoptionError when the other engine's dry run is not clean, with what it would still do, and StaleError when dvc.yaml
    is not what this experiment renders to.
    """
    dvc.check(params, Path("dvc.yaml"))
    touch = ["snakemake", "--touch", "--cores", "1", "--config", f"params={params}"]
    if engine == "dvc":
        # DVC writes large files anew when it takes them into its cache, in an order of its own; Snakemake goes by their times.
        pending, other, commands = snakemake_pending(params), "Snakemake", [["dvc", "commit", "--force", "--quiet"], touch]
    elif engine == "snakemake":
        pending, other, commands = dvc_pending(), "DVC", [touch]
    else:
        raise AdoptionError(f"unknown engine {engine!r}: use snakemake or dvc")
    if pending:
        raise AdoptionError(
            f"{engine} cannot adopt the workspace because {other} is not up to date; run {other} first. Pending:\n{pending}"
        )
    if engine == "dvc":
        dvc.write_plan(params, dvc.plan_file(params))  # the one output that Snakemake does not make
    for command in commands:
        done = _call(*command)
        if done.returncode != 0:
            raise AdoptionError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    for name, left in (("DVC", dvc_pending()), ("Snakemake", snakemake_pending(params))):
        if left:
            raise AdoptionError(f"{name} would still run something after {engine} has adopted the workspace:\n{left}")
    return f"{engine} is up to date with what {other} built"


def _stats(text: str) -> str:
    """The job counts of a dry run."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("Job stats")]
    return "\n".join(lines[starts[0] : starts[0] + 40] if starts else lines[-40:])
