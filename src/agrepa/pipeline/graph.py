"""The Snakefile's graph as data: its jobs, their commands, and running some of them by themselves."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from agrepa.errors import AgrepaError
from agrepa.progress import track

LOGGING = re.compile(r"\s*2>&1 \| tee \S+\s*$")
FROM_SCORES = ("tables", "figures", "claims", "page")


@cache
def jobs(params: Path) -> list[Any]:
    """Every job of the Snakefile's graph, in the order of the rules; built once a process, which Snakemake can do no oftener.

    Snakemake's public interface prints graphs but does not hand them out; hence its private one, and its pinned version.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings.enums import Quietness
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

    quiet = OutputSettings(quiet={Quietness.ALL})
    with contextlib.redirect_stderr(io.StringIO()), SnakemakeApi(quiet) as api:
        config = ConfigSettings(config={"params": str(params), "plan_without_running": True})
        flow = api.workflow(resource_settings=ResourceSettings(cores=1), config_settings=config, snakefile=Path("Snakefile"))
        flow.dag(DAGSettings(forceall=True))
        workflow = flow._workflow
        workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True, nolock=True)
        workflow._build_dag()
        found = [job for job in workflow.dag.jobs if not job.rule.norun]
        # Shell commands are formatted lazily and need the workflow alive.
        for job in found:
            job.rendered = job.shellcmd
        order = {rule: place for place, rule in enumerate(workflow.rules)}
        return sorted(found, key=lambda job: (order[job.rule], sorted(job.wildcards_dict.items())))


def listed(params: Path) -> dict[str, dict[Path, dict[str, str]]]:
    """Rule -> each job's run card and wildcards, from the rules and the experiment's lists alone: no graph is built."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.enums import Quietness
    from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings

    with contextlib.redirect_stderr(io.StringIO()), SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        config = ConfigSettings(config={"params": str(params), "plan_without_running": True})
        flow = api.workflow(resource_settings=ResourceSettings(cores=1), config_settings=config, snakefile=Path("Snakefile"))
        workflow = flow._workflow
        every = workflow.globals["FLOW"].every
        found: dict[str, dict[Path, dict[str, str]]] = {}
        for rule in workflow.rules:
            if "card" in rule.output.keys():  # noqa: SIM118 - of names, where `in` looks among files
                # Some rows' audio is another rule's: the pattern's own constraints say which are this one's.
                matches = {Path(path): rule.output.card.match(path) for path in every(rule.output.card)}
                found[rule.name] = {path: match.groupdict() for path, match in matches.items() if match}
        return found


def command(job: Any) -> str:
    """The job's shell command on one line, without the copy into its log."""
    return LOGGING.sub("", " ".join(job.rendered.split()))


def rebuild(params: Path) -> None:
    """Run the rules that need nothing but results/<experiment>/: tables, figures, claims and the report.

    Their run cards are not kept: the cards of the run that made the scores stay as they are.

    Raises AgrepaError with the command's own message when one fails.
    """
    found = [job for job in jobs(params) if job.rule.name in FROM_SCORES]
    with tempfile.TemporaryDirectory() as folder:
        for job in track(sorted(found, key=lambda job: FROM_SCORES.index(job.rule.name)), "rebuild", unit="rule"):
            words = shlex.split(command(job))
            # The one beside this interpreter, whether or not its environment is activated.
            words[0] = str(Path(sys.executable).with_name(words[0]))
            place = words.index("--card") + 1
            kept, words[place] = Path(words[place]), str(Path(folder) / "card.json")
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise AgrepaError(f"{job.rule.name}: {(done.stderr or done.stdout).strip()[-2000:]}")
            if kept.exists():
                kept.touch()  # as new as what it tells of, or Snakemake would make that again
