"""The SLURM profile on a real SLURM of several simulated nodes: whatever becomes of its jobs, going on gives the same tables."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from cluster import Cluster
from shrunken import Workspace

from agrepa.artifacts.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.slurm, pytest.mark.timeout(3000)]
COMMAND = ("snakemake", "--workflow-profile", "profiles/slurm")
TABLES = [f"results/demo/tables/table{number}.csv" for number in (1, 2, 3)]
# Trainings long enough to be met in the middle.
SLOWER = {"training": {"warmup_steps": 50, "arm_steps": 30}}
TRAINED = "work/demo/arms/ag_repa/seed0/checkpoint.safetensors"
BEHIND = ["work/demo/warmup/checkpoint.safetensors", "work/demo/probes/fog_a.json", "work/demo/selections/ag_repa.json", TRAINED]


class Run:
    """Snakemake at work in a workspace with the project's SLURM profile; what it prints is read as it comes."""

    def __init__(self, space: Workspace, cluster: Cluster, *words: str) -> None:
        environment = space.environment(cluster.environment)
        self.process = subprocess.Popen(
            [*COMMAND, *words], cwd=space.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.said.append(line)

    @property
    def text(self) -> str:
        return "".join(self.said)

    def wait_for(self, found: Callable[[], str | None], what: str, seconds: float = 600) -> str:
        """The first result of ``found``; the test fails when Snakemake ends before, or nothing comes."""
        end = time.monotonic() + seconds
        while (result := found()) is None:
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                pytest.fail(f"never came: {what}\n{self.text[-4000:]}")
            time.sleep(0.1)
        return result

    def finish(self, seconds: float = 1500) -> str:
        """Everything it printed, once it has ended well."""
        code = self.process.wait(seconds)
        self.reader.join(10)
        assert code == 0, self.text[-6000:]
        return self.text


def started(cluster: Cluster, rule: str) -> Callable[[], str | None]:
    """Finds a running SLURM job of a rule."""

    def look() -> str | None:
        lines = cluster.call("squeue", "--noheader", "--states", "RUNNING", "--format", "%A %k").stdout.splitlines()
        return next((line.split()[0] for line in lines if line.split()[1].startswith(f"rule_{rule}")), None)

    return look


def other(look: Callable[[], str | None], *known: str) -> Callable[[], str | None]:
    """The same of a job that is none of those."""
    return lambda: found if (found := look()) not in (None, *known) else None


def working(space: Workspace, stage: str) -> Callable[[], str | None]:
    """Finds the process of a stage once it has written a state that it could go on from, if it keeps one."""

    def look() -> str | None:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes().decode().split("\0")
                here = entry.with_name("cwd").readlink() == space.folder
            except OSError:
                continue
            if here and len(words) > 3 and Path(words[1]).name == "agrepa" and words[2] == stage:
                state = Path(words[words.index("--state") + 1]) if "--state" in words else None
                if state is None or any(path.is_file() for path in (space.folder / state).rglob("*")):
                    return entry.parent.name
        return None

    return look


def overhead(cluster: Cluster, space: Workspace) -> str:
    """How many jobs SLURM ran, and their seconds beyond those of their stages."""
    spent = []
    for line in (cluster.folder / "completed").read_text().splitlines():
        times = dict(re.findall(r"(JobState|StartTime|EndTime)=(\S+)", line))
        if times["JobState"] == "COMPLETED":
            begin, end = (datetime.fromisoformat(times[name]) for name in ("StartTime", "EndTime"))
            spent.append((end - begin).total_seconds())
    cards = [read_json(path) for path in (space.folder / "work").rglob("*.card.json")]
    staged = sum(card["seconds"] for card in cards)
    ran, done = sum(spent), len(spent)
    return f"{done} jobs, {ran:.0f} s in SLURM, {staged:.0f} s in stages, {(ran - staged) / done:.1f} s more a job"


def test_an_arm_trained_by_slurm_jobs_gives_the_same_tables(slurm, workspace, tmp_path, capsys):
    workspace.edit("params/arms.yaml", {"ag_repa": {"k": 2}})
    here = workspace.copy(tmp_path / "here")
    here.snakemake()
    begun = time.monotonic()
    output = Run(workspace, slurm).finish()
    assert "has been submitted with SLURM jobid" in output
    for table in TABLES:
        assert (workspace.folder / table).read_bytes() == (here.folder / table).read_bytes()
    assert workspace.planned() == {}
    assert "jobs of params/demo.yaml ran on what there is now" in workspace.run("agrepa", "check").stdout
    with capsys.disabled():
        print(f"\n{time.monotonic() - begun:.0f} s; {overhead(slurm, workspace)}")


def test_jobs_that_are_lost_in_every_way_train_the_same_model_in_the_end(slurm, workspace, tmp_path, capsys):
    """Cancelled, over its limit, killed, requeued, and Snakemake itself killed, in one run. What follows is the same work."""
    workspace.edit("params/demo.yaml", SLOWER)
    undisturbed = workspace.copy(tmp_path / "undisturbed")
    undisturbed.snakemake("--", TRAINED)
    begun = time.monotonic()
    run = Run(workspace, slurm, "--", TRAINED)

    # A hang in the middle of training, e.g. on a file system. Its limit is nearer than the signal that the profile asks for, so
    # that comes at once, and ends the stage: which counts as failed, where one that did not listen would be timed out.
    hanging = int(run.wait_for(working(workspace, "warmup"), "a state of the warm-up"))
    os.kill(hanging, signal.SIGSTOP)
    late = run.wait_for(started(slurm, "warmup"), "a running warmup")
    assert slurm.call("scontrol", "update", f"JobId={late}", "TimeLimit=1").returncode == 0
    again = run.wait_for(other(started(slurm, "warmup"), late), "the warm-up again")
    slurm.call("scancel", again)
    third = run.wait_for(other(started(slurm, "warmup"), late, again), "the warm-up once more")

    requeued = run.wait_for(started(slurm, "fog_a"), "a running fog_a")
    assert slurm.call("scontrol", "requeue", requeued).returncode == 0

    stage = int(run.wait_for(working(workspace, "train"), "a state of a training"))
    killed = run.wait_for(started(slurm, "train"), "a running training")
    os.kill(stage, signal.SIGKILL)

    # Snakemake itself: its jobs go on, and end before the next run begins.
    run.wait_for(other(started(slurm, "train"), killed), "the training again")
    run.process.kill()
    run.process.wait(30)
    run.reader.join(10)
    (name,) = set(re.findall(r"SLURM run ID: (\S+)", run.text))
    assert slurm.jobs(), "its jobs go on without it"
    slurm.call("scancel", "--name", name)
    slurm.cancel_all()
    workspace.run("snakemake", "--unlock", "--cores", "1")
    Run(workspace, slurm, "--", TRAINED).finish()

    for number, state in ((late, "FAILED"), (again, "CANCELLED"), (killed, "FAILED")):
        assert f"SLURM-job '{number}' failed, SLURM status is: '{state}'" in run.text
    assert f"'{requeued}' failed" not in run.text and f"'{third}' failed" not in run.text
    for file in BEHIND:
        assert (workspace.folder / file).read_bytes() == (undisturbed.folder / file).read_bytes()
    assert not slurm.asked_sacct()
    with capsys.disabled():
        print(f"\n{time.monotonic() - begun:.0f} s")


MULTI_NODE = """
rule ranks:
    output: "ranks.txt"
    resources: mpi="srun", tasks=2, nodes=2, tasks_per_gpu=0
    params: port={port}
    shell:
        # The job step takes SLURM_* away, so that srun has to be told the step's shape again.
        "{{resources.mpi}} --nodes={{resources.nodes}} --ntasks={{resources.tasks}} "
        "torchrun --nnodes={{resources.nodes}} --nproc-per-node=1 --rdzv-backend=c10d --rdzv-id={{params.port}} "
        "--rdzv-endpoint=$(hostname):{{params.port}} ranks.py {{output}}"
"""
RANKS = """
import sys, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1])
dist.all_reduce(total)
if dist.get_rank() == 0:
    open(sys.argv[1], "w").write(f"{dist.get_world_size()} ranks, sum {total.item()}")
"""
ARRAY = """
rule all:
    input: expand("{shard}.txt", shard=range(3))
rule shard:
    output: "{shard}.txt"
    shell: "if [ {wildcards.shard} = 0 ]; then touch {output}; else while [ ! -e 0.txt ]; do sleep 0.2; done; exit 1; fi"
"""


GPU = """
rule train:
    output: "train.txt"
    shell: "scontrol show job $SLURM_JOB_ID > {output}"
"""


def small(folder: Path, snakefile: str, cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """Snakemake in a folder of its own, on the cluster."""
    (folder / "Snakefile").write_text(snakefile)
    options = ["--executor", "slurm", "--jobs", "4", "--latency-wait", "20", "--slurm-init-seconds-before-status-checks", "2"]
    command = ["snakemake", *options, "--slurm-status-command", "squeue", "--default-resources", "mem_mb=1000", "runtime=5"]
    environment = Workspace.at(folder).environment(cluster.environment)
    return subprocess.run(
        [*command, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_multi_node_example_of_the_guide_spans_two_nodes(slurm, tmp_path):
    (tmp_path / "ranks.py").write_text(RANKS)
    done = small(tmp_path, MULTI_NODE.format(port=29571), slurm, "--", "ranks.txt")
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / "ranks.txt").read_text() == "2 ranks, sum 3"


def test_the_profile_asks_for_a_gpu_once_its_lines_are_no_comments(slurm, tmp_path, root):
    """The nodes' GPUs are there for the scheduler alone."""
    profile = tmp_path / "profiles" / "slurm" / "config.yaml"
    profile.parent.mkdir(parents=True)
    lines = (root / "profiles" / "slurm" / "config.yaml").read_text()
    profile.write_text(re.sub(r"# (slurm_partition: \"'gpu'\"|gpu: 1)", r"\1", lines))
    (tmp_path / "Snakefile").write_text(GPU)
    environment = Workspace.at(tmp_path).environment(slurm.environment)
    done = subprocess.run(COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    job = (tmp_path / "train.txt").read_text()
    wanted = ("Partition=gpu", "TresPerJob=gres.gpu.1", "TimeLimit=1-00:00:00", "mem=8000M", "Requeue=1")
    assert [words for words in wanted if not re.search(words, job)] == []


def test_in_a_job_array_a_failed_task_still_removes_the_output_of_the_first(slurm, tmp_path):
    """Why the profile asks for no arrays. Should this fail with a newer plugin, arrays can be taken into the profile."""
    done = small(tmp_path, ARRAY, slurm, "--slurm-array-jobs", "shard", "--keep-going")
    assert "Submitted array job" in done.stderr, done.stderr[-4000:]
    assert done.returncode != 0
    assert not (tmp_path / "0.txt").exists()
