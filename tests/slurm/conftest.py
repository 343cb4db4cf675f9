"""A SLURM for the tests of the cluster profile."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cluster
import pytest


@pytest.fixture(scope="session")
def slurm() -> Iterator[cluster.Cluster]:
    """A running SLURM of several nodes. Skipped where its programs are missing or we are not root."""
    if missing := cluster.missing():
        pytest.skip(f"no SLURM here ({', '.join(missing)} missing): apt-get install slurmctld slurmd slurm-client munge")
    if os.geteuid() != 0:
        pytest.skip("the test's SLURM needs root")
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        running = cluster.Cluster(Path(folder))
        running.start()
        yield running
        running.stop()
