"""What every test may use: the pinned archives (from the user's cache, fetched once) and the shipped demo experiment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agrepa import params

pytest_plugins = ["shrunken"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def demo() -> params.Experiment:
    """The shipped demo experiment."""
    return params.load(ROOT / "params" / "demo.yaml")


@pytest.fixture(scope="session")
def archive(demo: params.Experiment) -> Callable[[str], Path]:
    """``archive(name)`` is the path of a pinned archive, fetched into the user's cache when it is not there."""

    def find(name: str) -> Path:
        folder = os.environ.get("AGREPA_ARCHIVES")
        if folder:
            return Path(folder) / demo.archives[name].file
        from agrepa.archives.fetch import fetch

        return fetch(demo.archives[name])

    return find
