"""What a run card says of the code's version and of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from agrepa.pipeline.arithmetic import instructions

LIBRARIES = (
    "agrepa",
    "torch",
    "torchaudio",
    "transformers",
    "ctranslate2",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "soundfile",
)
CODE = (":/Snakefile", ":/src", ":/workflow", ":/params", ":/requirements")


def provenance() -> dict[str, Any]:
    """Git commit and dirtiness, library versions and hardware. Git is null outside a repository."""
    versions = {"python": platform.python_version()} | {name: metadata.version(name) for name in LIBRARIES}
    torch = sys.modules.get("torch")  # a stage that did not need it used no GPU, and importing it takes seconds
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
    hardware = {"cpu": _cpu(), "instructions": instructions(), "cores": os.cpu_count(), "gpu": gpu, "system": platform.platform()}
    return {"git": _git(), "versions": versions, "hardware": hardware}


def _git() -> dict[str, Any] | None:
    def ask(*words: str) -> str | None:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    # Files that are not tracked count as well: a new module is code that the commit does not have.
    return None if commit is None else {"commit": commit, "dirty": bool(ask("status", "--porcelain", "--", *CODE))}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
