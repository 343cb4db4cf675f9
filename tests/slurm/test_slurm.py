"""The SLURM profile on a real one-node SLURM: the same results as on this machine, and what becomes of a lost job."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest
from cluster import Cluster
from shrunken import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.slurm]
COMMAND = ("snakemake", "--workflow-profile", "profiles/slurm")
TABLES = [f"results/demo/tables/table{number}.csv" for number in (1, 2, 3)]


def submitted(space: Workspace, cluster: Cluster, *words: str) -> subprocess.Popen[str]:
    """Snakemake at work in the workspace with the project's SLURM profile."""
    environment = space.environment(cluster.environment)
    return subprocess.Popen(
        [*COMMAND, *words], cwd=space.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(found: Callable[[], str | None], process: subprocess.Popen[str], seconds: float = 120) -> str:
    """The first result of ``found``; the test fails when Snakemake ends before, or nothing comes."""
    end = time.monotonic() + seconds
    while (result := found()) is None:
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"nothing came:\n{process.communicate()[0][-4000:]}")
        time.sleep(0.2)
    return result


def test_an_arm_trained_by_slurm_jobs_gives_the_same_tables(slurm, workspace, tmp_path):
    workspace.edit("params/arms.yaml", {"ag_repa": {"k": 2}})
    here = workspace.copy(tmp_path / "here")
    here.snakemake()
    process = submitted(workspace, slurm)
    output, _ = process.communicate(timeout=800)
    assert process.returncode == 0, output[-4000:]
    assert "has been submitted with SLURM jobid" in output
    for table in TABLES:
        assert (workspace.folder / table).read_bytes() == (here.folder / table).read_bytes()
    assert workspace.planned() == {}


def test_a_job_that_slurm_loses_is_submitted_again_and_finishes(slurm, workspace):
    target = "work/demo/probes/dit/seed0/lasp.json"
    wanted = (workspace.folder / target).read_bytes()
    process = submitted(workspace, slurm, "--forcerun", "lasp", "--", target)

    def running() -> str | None:
        return next((job for job, state in slurm.jobs().items() if state == "RUNNING"), None)

    job = wait_for(running, process)
    slurm.call("scancel", job)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output[-4000:]
    assert f"SLURM job '{job}' failed" in output or "CANCELLED" in output, output[-4000:]
    assert output.count("has been submitted with SLURM jobid") == 2
    assert (workspace.folder / target).read_bytes() == wanted
