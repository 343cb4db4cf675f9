"""A workspace of its own for tests of the whole DAG: the real Snakefile and the shipped demo, shrunk, on real recordings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
SHRUNK: dict[str, Any] = {
    "name": "demo",
    "arms": ["base", "ag_repa"],
    "shards": 2,
    "threads": {"features": 1, "warmup": 1, "arms": 1, "evaluation": 1},
    "corpora": {
        "max_seconds": 2.5,
        "train": {"speech": 24, "audio": 16},
        "validation": {"speech": 3, "audio": 3, "unseen": 3},
        "test": {"speech": 5, "audio": 5, "unseen": 3},
    },
    "tokens": {name: {"vocabulary": 16, "iterations": 3} for name in ("speech", "audio", "second_speech", "second_audio")},
    "model": {"depth": 4, "width": 32, "heads": 2, "token_width": 16, "head_width": 16, "conv_kernel": 5, "front": {"blocks": 1}},
    "training": {
        "batch_frames": 600,
        "crop_frames": 64,
        "warmup_steps": 6,
        "arm_steps": 4,
        "log_every": 2,
        "validate_every": 2,
        "snapshot_every": 2,
        "checkpoint_every": 2,
    },
    "probes": {
        "bootstrap": 50,
        "fog_a": {"clips": 3, "times": [0.2, 0.8], "control_times": [0.2], "trend_clips": 2},
        "lasp": {"clips": 3, "times": [0.2, 0.8]},
        "gradient_norm": {"clips": 3, "times": [0.5]},
    },
    "evaluation": {
        "speech_clips": 4,
        "unseen_clips": 3,
        "audio_clips": 4,
        "vocoder": {"iterations": 4},
        "sampling": {"steps": 2},
        "frechet": {"embeddings": ["aisfx"], "reference_clips": 16, "subset_sizes": 2, "bootstrap": 4},
    },
    "reporting": {"listening_clips": 1},
}
# What follows one arm's selection: its training, audio and metrics, and everything that shows all arms.
ARM = Counter(("train", "synthesize", "wer", "mos", "units", "embed", "fad"))
ARM += Counter(("collect", "listening", "scores", "cards", "tables", "figures", "claims", "page"))


def ran_by_dvc(output: str) -> Counter[str]:
    """Stage -> jobs that DVC says it ran, without the plan, which it makes whenever a file of code or params changed."""
    ran = Counter(re.findall(r"^Running stage '([^'@-]+)", output, re.M))
    del ran["plan"]
    return ran


def ran_by_snakemake(output: str) -> Counter[str]:
    """Rule -> jobs that Snakemake says it ran."""
    return Counter(re.findall(r"^(?:local)?(?:rule|checkpoint) ((?!all:)\w+):", output, re.M))


def merge(data: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``change`` over ``data``, key by key."""
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(data.get(key), dict):
            merge(data[key], value)
        else:
            data[key] = value
    return data


class Workspace:
    """A copy of what the repository gives Snakemake and DVC, in a folder of its own.

    Args:
        shrunk: what is changed of the demo; nothing for a workspace that runs another experiment.
    """

    def __init__(self, folder: Path, shrunk: dict[str, Any] = SHRUNK) -> None:
        self.folder = folder
        for name in ("Snakefile", "environment.yml", "workflow", "profiles", "params"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        shutil.copytree(ROOT / "results" / "paper", folder / "results" / "paper")
        shutil.copytree(ROOT / "src" / "agrepa", folder / "src" / "agrepa", ignore=shutil.ignore_patterns("__pycache__"))
        if shrunk:
            self.edit("params/demo.yaml", shrunk)

    @classmethod
    def at(cls, folder: Path) -> Workspace:
        """A workspace that exists already."""
        space = cls.__new__(cls)
        space.folder = folder
        return space

    def copy(self, folder: Path) -> Workspace:
        """The same workspace elsewhere, with all that was built in it and its times."""
        shutil.copytree(self.folder, folder, symlinks=True, copy_function=self._copy)
        return self.at(folder)

    def _copy(self, source: str, target: str) -> None:
        """Link what nobody writes into, downloads and DVC's cache, which would fill the disk; copy the rest, with its times."""
        inside = Path(source).relative_to(self.folder).parts
        (os.link if inside[0] == "downloads" or inside[:2] == (".dvc", "cache") else shutil.copy2)(source, target)

    def edit(self, file: str, change: dict[str, Any]) -> None:
        """Change keys of a YAML file."""
        path = self.folder / file
        path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), change), sort_keys=False))

    def environment(self, given: Mapping[str, str] = os.environ) -> dict[str, str]:
        """``given`` with this interpreter's programs and the workspace's own copy of the package (a test may edit it) first."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"
        return {**given, "PATH": path, "PYTHONPATH": str(self.folder / "src")}

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the workspace; a failure shows its output."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(command)} exited {done.returncode}:\n{(done.stdout + done.stderr)[-6000:]}")
        return done

    def snakemake(self, *words: str, check: bool = True) -> str:
        """Run Snakemake on two cores and return what it printed."""
        done = self.run("snakemake", "--cores", "2", *words, check=check)
        return done.stdout + done.stderr

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def planned(self) -> dict[str, int]:
        """Rule -> number of jobs that a dry run plans."""
        lines = self.snakemake("--dry-run", "--quiet", "rules").splitlines()
        start = [i for i, line in enumerate(lines) if line.startswith("-----")]
        rows = (line.split() for line in lines[start[0] + 1 :]) if start else []
        counts = {}
        for row in rows:
            if len(row) != 2 or row[0] == "total":
                break
            counts[row[0]] = int(row[1])
        return counts


def made_once(name: str, factory: pytest.TempPathFactory, make: Callable[[Path], None]) -> Workspace:
    """The workspace ``name``, made by the first process of a parallel test run that asks for it and shared by all."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return Workspace.at(folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which the whole shrunken demo has run once; copy it before changing it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        Workspace(folder).snakemake()

    return made_once("finished", tmp_path_factory, make)


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A finished workspace to experiment on."""
    return finished.copy(tmp_path / "copy")


@pytest.fixture(scope="session")
def both(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished workspace in git, with DVC up to date beside Snakemake; copy it before changing it."""

    def make(folder: Path) -> None:
        space = finished.copy(folder)
        (folder / ".dvc").mkdir()
        for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, folder / name)
        space.run("git", "init", "--quiet")
        space.run("git", "config", "user.email", "test@example.org")
        space.run("git", "config", "user.name", "Test")
        space.run("agrepa", "dvc", "render")
        space.run("agrepa", "adopt", "dvc")
        space.commit("finished")

    return made_once("both", tmp_path_factory, make)


@pytest.fixture
def space(both: Workspace, tmp_path: Path) -> Workspace:
    """A workspace of both engines to experiment on."""
    return both.copy(tmp_path / "space")
