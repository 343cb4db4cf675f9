# ruff: noqa: F811 - fixtures that are imported and taken
"""Trainings on several real processes, in micro-batches, and asked to leave: they come to what one process comes to."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from test_training import selection_file, train_arm, train_warmup, with_arm  # noqa: F401 - fixtures among them
from torch import nn
from torch.optim.swa_utils import AveragedModel

from agrepa.artifacts.files import load_tensors
from agrepa.data.steps import Steps
from agrepa.errors import AgrepaError, Interrupted, ParamsError
from agrepa.params.experiment import FILES
from agrepa.params.stages import WarmupSettings
from agrepa.pipeline import arithmetic, keys, likeness, runner
from agrepa.pipeline.signatures import signature
from agrepa.training import checkpoint
from agrepa.training.objective import Objective

LOSSES, WEIGHTS = 1e-4, 1e-4
"""How far losses (relative) and weights (absolute) may lie from those of one process; docs/training-at-scale.md states it."""
NAMES = ("warmup.safetensors", "log.parquet", "validation.parquet", "snapshots/4.safetensors", "snapshots/8.safetensors")


def trained_with(experiment, **changes):
    return experiment.model_copy(update={"training": experiment.training.model_copy(update=changes)})


@pytest.fixture
def plain(small):
    """Without dropout, whose masks belong to a batch and not to a clip."""
    return small.model_copy(update={"model": small.model.model_copy(update={"dropout": 0.0})})


def assert_alike(one, other):
    """Two checkpoints with the logs beside them are equal but for rounding."""
    expected, found = load_tensors(one), load_tensors(other)
    assert {*expected} == {*found}, "a parameter that no clip of any step reached has no moments either"
    for name, value in expected.items():
        if not name.startswith("optimizer"):
            torch.testing.assert_close(found[name], value, rtol=0, atol=WEIGHTS, msg=lambda text, name=name: f"{name}: {text}")


def assert_logs_alike(one, other):
    expected, found = (pd.read_parquet(path).set_index(["series", "step"]).value for path in (one, other))
    assert found.to_dict() == pytest.approx(expected.to_dict(), rel=LOSSES)


@pytest.mark.parametrize("changes", [{"devices": 2}, {"accumulate": 2}, {"devices": 2, "accumulate": 2}], ids=str)
def test_processes_and_micro_batches_train_as_one_process_does(plain, train_warmup, dataset, settings_of, tmp_path, changes):
    alone = train_warmup(plain, tmp_path / "alone")
    several = trained_with(plain, **changes)
    together = train_warmup(several, tmp_path / "together")
    assert_alike(alone, together)
    assert_logs_alike(tmp_path / "alone" / "log.parquet", tmp_path / "together" / "log.parquet")
    losses = [pd.read_parquet(tmp_path / name / "validation.parquet") for name in ("alone", "together")]
    assert losses[0].drop(columns="loss").equals(losses[1].drop(columns="loss"))
    p = settings_of(WarmupSettings, several)
    parts = [batch for rank in range(p.training.devices) for share in Steps(p, dataset, 0, rank, p.training.devices).between(0, 8)
             for batch, _ in share.batches]  # fmt: skip
    assert any(len({*batch.domain.tolist()}) < len({*batch.whole.domains}) for batch in parts), "no share lacks a domain"


def test_refreshed_layers_are_the_same_on_all_processes(plain, train_warmup, train_arm, tmp_path):
    start = train_warmup(plain, tmp_path)
    chosen = selection_file(tmp_path / "selection.json", [4, 3])
    refreshed = trained_with(with_arm(plain, "ag_repa", k=2, refresh="refreshed"), snapshot_every=2)
    alone = train_arm(refreshed, "ag_repa", start, chosen, tmp_path, "alone")
    together = train_arm(trained_with(refreshed, devices=2), "ag_repa", start, chosen, tmp_path, "together")
    assert_alike(alone, together)
    assert_logs_alike(tmp_path / "alone.parquet", tmp_path / "together.parquet")
    layers = [{d: s[0] for d, s in checkpoint.meta(made)["supervision"].items()} for made in (alone, together)]
    assert layers[0] == layers[1]


def test_any_number_of_processes_goes_on_from_what_another_number_left(plain, train_warmup, tmp_path):
    alone = train_warmup(plain, tmp_path / "alone")
    past, folder = time.time() - 60, tmp_path / "several"
    for step, devices in enumerate((2, 1, 4), 1):
        with pytest.raises(Interrupted, match=rf"warmup left at step {step} of 8 \(its time is nearly over\): run it again"):
            train_warmup(trained_with(plain, devices=devices), folder, past)
        assert checkpoint.meta(folder / "state" / "checkpoint.safetensors")["step"] == step
        assert not (folder / "warmup.safetensors").exists()
    together = train_warmup(trained_with(plain, devices=2), folder)
    assert_alike(alone, together)
    assert_logs_alike(tmp_path / "alone" / "log.parquet", folder / "log.parquet")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_training_after_its_step_and_it_goes_on_to_the_same_bytes(
    small, train_warmup, tmp_path, monkeypatch, number
):
    train_warmup(small, tmp_path / "whole")
    original, updates = AveragedModel.update_parameters, []

    def signalled(self, module):
        original(self, module)
        updates.append(module)
        if len(updates) == 5:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(AveragedModel, "update_parameters", signalled)
    before = signal.getsignal(number)
    # Heard in the fifth step, after its processes have agreed to go on: all of them leave after the sixth.
    with pytest.raises(Interrupted, match=rf"left at step 6 of 8 \({number.name}\)"):
        train_warmup(small, tmp_path / "left")
    assert signal.getsignal(number) == before
    monkeypatch.undo()
    train_warmup(small, tmp_path / "left")
    for name in NAMES:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "left" / name).read_bytes(), name


def test_losses_between_two_lines_of_the_log_are_remembered(small, train_warmup, tmp_path):
    slow = trained_with(small, log_every=4, validate_every=4, checkpoint_every=4)
    train_warmup(slow, tmp_path / "whole")
    for _ in range(7):
        with pytest.raises(Interrupted):
            train_warmup(slow, tmp_path / "left", time.time())
    train_warmup(slow, tmp_path / "left", time.time())
    for name in NAMES:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "left" / name).read_bytes(), name


def test_workers_change_no_byte(small, train_warmup, tmp_path):
    train_warmup(small, tmp_path / "none")
    train_warmup(trained_with(small, workers=2), tmp_path / "two")
    for name in NAMES:
        assert (tmp_path / "none" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_what_is_given_to_the_model_stays_in_full_precision(small, train_warmup, tmp_path):
    seen = []
    hook = nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: seen.append(given) if isinstance(module, Objective) else None
    )
    made = train_warmup(trained_with(small, precision="bf16-mixed"), tmp_path)
    hook.remove()
    for batch, drawn in seen:
        values = (batch.mel, batch.condition.positions, drawn.t, drawn.eps)
        assert {value.dtype for value in values} == {torch.float32}
    assert {value.dtype for value in load_tensors(made).values() if value.is_floating_point()} == {torch.float32}


@pytest.mark.long
def test_a_compiled_backbone_trains_as_it_does_uncompiled(plain, train_warmup, tmp_path):
    short = trained_with(plain, warmup_steps=4)
    alone, compiled = (train_warmup(trained_with(short, compile=c), tmp_path / str(c)) for c in (False, True))
    assert_alike(alone, compiled)
    assert_logs_alike(tmp_path / "False" / "log.parquet", tmp_path / "True" / "log.parquet")


class Job:
    """The real command line of a warm-up on the small experiment."""

    def __init__(self, experiment, features, codebooks, root, folder, **training):
        self.folder = folder
        (folder / "params").mkdir(parents=True)
        data = {k: v for k, v in experiment.model_dump(mode="json").items() if k not in FILES}
        data["training"] |= training
        (folder / "params" / "small.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
        for name in FILES.values():
            shutil.copy(root / "params" / name, folder / "params" / name)
        given = {name: [path] for name, path in features["sources"].items()}
        given |= {
            "codebooks": codebooks,
            "targets": features["targets"],
            "state": [folder / "state"],
            "snapshots": [folder / "snapshots"],
        }
        given |= {name: [folder / f"{name}.{end}"] for name, end in (("log", "parquet"), ("validation", "parquet"))}
        given |= {"kind": ["dit"], "seed": ["0"]}
        given |= {"checkpoint": [folder / "warmup.safetensors"], "card": [folder / "card.json"]}
        self.words = [str(Path(sys.executable).parent / "agrepa"), "warmup", "--params", str(folder / "params" / "small.yaml")]
        for name in [*signature("warmup").arguments, "card"]:
            self.words += [f"--{name}", " ".join(map(str, given[name]))]

    def start(self, **environment):
        environment = os.environ | environment
        self.process = subprocess.Popen(self.words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return self.process

    def wait_for_state(self, process):
        end = time.monotonic() + 120
        while not (self.folder / "state" / "checkpoint.safetensors").exists():
            assert process.poll() is None and time.monotonic() < end, process.communicate()[1]
            time.sleep(0.05)

    def left_behind(self):
        return sorted(path.name for path in self.folder.iterdir() if path.name not in ("params", "state"))


@pytest.fixture
def job(small, features, codebooks, root, tmp_path):
    made = []

    def make(name, **training):
        made.append(Job(small, features, codebooks, root, tmp_path / name, **training))
        return made[-1]

    yield make
    for one in made:
        one.process.kill()


LONG = {"warmup_steps": 60, "log_every": 6, "validate_every": 30, "checkpoint_every": 6, "snapshot_every": 30}
ENDLESS = LONG | {"warmup_steps": 100_000, "validate_every": 99_996, "snapshot_every": 99_996}


def test_a_job_that_is_asked_to_leave_is_run_again_to_the_same_bytes(job):
    whole, left = job("whole", **LONG), job("left", **LONG)
    process = left.start()
    left.wait_for_state(process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 75, said
    assert "agrepa warmup: error: warmup left at step" in said and "(SIGTERM): run it again to go on" in said
    assert left.left_behind() == [], "no output, and nothing that looks like one"
    assert 6 <= checkpoint.meta(left.folder / "state" / "checkpoint.safetensors")["step"] < 60
    for one in (left, whole):
        process = one.start()
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    for name in (
        "warmup.safetensors",
        "log.parquet",
        "validation.parquet",
        "snapshots/30.safetensors",
        "snapshots/60.safetensors",
    ):
        assert (whole.folder / name).read_bytes() == (left.folder / name).read_bytes(), name
    assert not (left.folder / "state").exists()


def children(pid):
    """RANK -> process number of the children that have one."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        variables = dict(entry.partition("=")[::2] for entry in Path(f"/proc/{child}/environ").read_text().split("\0"))
        if "RANK" in variables:
            found[int(variables["RANK"])] = int(child)
    return found


def test_a_dead_process_ends_the_job_with_an_error_that_names_it(job):
    two = job("two", devices=2, **ENDLESS)
    process = two.start()
    two.wait_for_state(process)
    ranks = children(process.pid)
    begun = time.monotonic()
    os.kill(ranks[1], signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    assert time.monotonic() - begun < 60
    assert process.returncode == 1
    assert "error: process 1 of 2 was ended by SIGKILL, so the training was ended; its state is kept" in said
    assert not Path(f"/proc/{ranks[0]}").exists(), "the other one is gone too"
    assert two.left_behind() == []
    process = two.start(AGREPA_STOP_AFTER="0.0001")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 75 and "resuming at step" in said and "(its time is nearly over)" in said


def test_the_processes_end_when_the_job_that_started_them_is_gone(job):
    two = job("two", devices=2, **ENDLESS)
    process = two.start()
    two.wait_for_state(process)
    ranks = children(process.pid)
    process.kill()
    process.communicate(timeout=300)
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in ranks.values()):
        assert time.monotonic() < end, "a process trains on that nobody watches over"
        time.sleep(0.1)


def test_an_expected_failure_of_a_process_is_the_jobs_own(plain, train_warmup, tmp_path):
    diverging = trained_with(plain, devices=2, learning_rate=1e30)
    with pytest.raises(AgrepaError, match=r"^warmup: loss is .* at step \d+: lower training.learning_rate$"):
        train_warmup(diverging, tmp_path)
    assert not (tmp_path / "warmup.safetensors").exists()


SRUN = """#!{python}
# As srun starts tasks, on this machine: one process a task, told its place by SLURM's variables.
import os, subprocess, sys
options = dict(word[2:].split("=") for word in sys.argv[1:] if word.startswith("--") and "=" in word)
command = sys.argv[sys.argv.index({python!r}):]
each, line = int(options["ntasks-per-node"]), sys.stdin.buffer.readline()
tasks = []
for task in range(int(options["ntasks"])):
    place = {{"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task % each), "SLURM_NODEID": str(task // each)}}
    tasks.append(subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | place))
    tasks[-1].stdin.write(line)
    tasks[-1].stdin.flush()
sys.exit(max(task.wait() for task in tasks))
"""


def test_several_nodes_are_reached_by_srun_within_their_allocation(plain, train_warmup, tmp_path, monkeypatch):
    wide = trained_with(plain, nodes=2)
    with pytest.raises(ParamsError, match=r"training.nodes is 2 and this is no job of SLURM"):
        train_warmup(wide, tmp_path / "none")
    alone = train_warmup(plain, tmp_path / "alone")
    (tmp_path / "srun").write_text(SRUN.format(python=sys.executable))
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert_alike(alone, train_warmup(wide, tmp_path / "wide"))


def test_how_a_training_is_carried_out_is_no_part_of_what_its_result_is_known_by(small):
    several = trained_with(small, devices=2, nodes=3, accumulate=4, workers=5, compile=True)
    for stage, wildcards in (
        ("warmup", {"kind": "dit", "seed": "0"}),
        ("train", {"arm": "ag_repa", "seed": "0"}),
        ("tables", {}),
    ):
        assert keys.values(stage, several, wildcards) == keys.values(stage, small, wildcards)
    assert keys.settings("train", several, {"arm": "ag_repa"}).training.devices == 2
    assert arithmetic.carried_out(small.training) == {}, "and a plain run card says nothing of it"
    said = arithmetic.carried_out(several.training)
    assert said == {"carried_out": {"devices": 2, "nodes": 3, "accumulate": 4, "compile": True}}
    hardware = {"cpu": "c", "gpu": None}
    card = {"hardware": hardware, "numerics": "AVX2", "threads": 1, "versions": {}, "params": {}}
    assert likeness.unlike({"a": card}, {"a": card | said}) == ["devices", "nodes", "accumulate", "compile"]


@pytest.mark.parametrize("text", ["soon", "0", "-3", "inf", ""])
def test_a_budget_that_is_no_number_of_minutes_is_an_error(text, monkeypatch):
    monkeypatch.setenv("AGREPA_STOP_AFTER", text)
    with pytest.raises(ParamsError, match=rf"AGREPA_STOP_AFTER is '{text}' in the environment: set it to a number of minutes"):
        runner.end_of_time(1000.0)


def test_a_budget_is_in_minutes_and_absent_unless_said(monkeypatch):
    monkeypatch.setenv("AGREPA_STOP_AFTER", "1.5")
    assert runner.end_of_time(1000.0) == 1090.0
    monkeypatch.delenv("AGREPA_STOP_AFTER")
    assert runner.end_of_time(1000.0) is None
