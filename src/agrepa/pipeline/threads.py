"""How many threads a job uses: said in the environment before NumPy and torch are imported, which read it only then."""

from __future__ import annotations

import os
import sys

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def limit(count: int) -> None:
    """Hold this process to ``count`` threads: 1 and 2 threads round differently, so they are part of the result.

    Snakemake exports such variables itself, DVC does not.
    """
    for variable in VARIABLES:
        os.environ[variable] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
