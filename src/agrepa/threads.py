"""How many threads a job uses: said in the environment before NumPy and torch are imported, which read it only then."""

from __future__ import annotations

import os
import sys

from agrepa import stages
from agrepa.params import Experiment

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def of(stage: str, experiment: Experiment) -> int:
    """The threads that the params give to a job of this stage."""
    return int(getattr(experiment.threads, stages.STAGES[stage].threads))


def limit(stage: str, experiment: Experiment) -> None:
    """Hold this process to the stage's threads: 1 and 2 threads round differently, so they are part of the result.

    Snakemake exports such variables itself, DVC does not.
    """
    for variable in VARIABLES:
        os.environ[variable] = str(of(stage, experiment))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(of(stage, experiment))
