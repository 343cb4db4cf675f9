"""A job that a batch system ends: its stage hears of it, and has the time to write what it can go on from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agrepa.pipeline.workflow import PREFIX

STAGE = """
import signal, sys, time
def stop(number, frame):
    print("stopping", flush=True)
    time.sleep(1)
    print("state written", flush=True)
    sys.exit(3)
signal.signal(signal.SIG{name}, stop)
print("ready", flush=True)
time.sleep(60)
"""


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + 20
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < end, f"{path} never had {text}"
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["TERM", "USR1"])
def test_a_signal_to_all_of_a_job_leaves_the_stage_its_time_and_its_log(tmp_path, name):
    log, script = tmp_path / "log", tmp_path / "stage.py"
    script.write_text(STAGE.replace("{name}", name))
    # As Snakemake runs a rule: the prefix, the command, the copy into the log.
    command = f"{PREFIX} {sys.executable} {script} 2>&1 | tee {log}"
    job = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(log, "ready")
    os.killpg(job.pid, getattr(signal, f"SIG{name}"))
    shown, _ = job.communicate(timeout=20)
    assert log.read_text() == shown == "ready\nstopping\nstate written\n"
    assert job.returncode == 3, "Snakemake must see that the job failed"


def test_a_stage_that_does_not_listen_ends_at_once(root):
    """It inherits the shell's deafness, and gives it up."""
    command = f"{PREFIX} exec {Path(sys.executable).with_name('agrepa')} dvc render --check"
    job = subprocess.Popen(["bash", "-c", command], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun = time.monotonic()
    while job.poll() is None and time.monotonic() < begun + 20:
        job.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    assert job.wait(timeout=20) == -signal.SIGTERM


def test_the_rules_run_behind_the_prefix(root):
    assert "shell.prefix(PREFIX)" in (root / "Snakefile").read_text()
