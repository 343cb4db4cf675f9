"""How a job computes: its threads and its instruction set, said in the environment before anything that computes is imported.

NumPy, torch and CTranslate2 choose their kernels by the machine when they are loaded. Kernels of AVX-512 add up in another order
than those of AVX2, and training carries the last bits up to the third digit of a score.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from agrepa.params.training import Training

Numerics = Literal["portable", "native"]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "CT2_FORCE_CPU_ISA": "AVX2",
    "CT2_USE_MKL": "0",  # by itself CTranslate2 takes MKL on Intel's machines and oneDNN on others
}
"""The switch of each library that computes, set to the instructions that every x86-64 machine since 2013 to 2015 has."""

PLAIN = {"devices": 1, "nodes": 1, "accumulate": 1, "compile": False}
"""Keys of ``training`` that change last bits and nothing else, where they are as they are unless said otherwise."""


def settle(threads: int, numerics: Numerics) -> None:
    """Hold this process to ``threads`` threads and, where ``numerics`` is portable, to AVX2.

    1 and 2 threads round differently, so they are part of the result. Snakemake exports such variables itself, DVC does not.
    """
    for variable in THREADS:
        os.environ[variable] = str(threads)
    for variable, value in PORTABLE.items():
        if numerics == "portable" and has_avx2():
            os.environ[variable] = value
        else:
            os.environ.pop(variable, None)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def instructions() -> list[str]:
    """The vector instructions of this machine, as Linux names them, e.g. ``["avx2", "avx512f"]``; none where it does not say."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    flags = next((line.split(":", 1)[1].split() for line in text.splitlines() if line.startswith(("flags", "Features"))), [])
    return sorted({flag for flag in flags if flag.startswith(("avx", "amx", "fma", "neon", "asimd", "sve"))})


def has_avx2() -> bool:
    """Whether ``portable`` can hold here. Elsewhere, on ARM for instance, a job computes as the machine does."""
    return platform.machine().lower() in ("x86_64", "amd64") and "avx2" in instructions()


def carried_out(training: Training) -> dict[str, Any]:
    """How a training was carried out where it was not in the plain way, for the run card: ``{"carried_out": {"devices": 2}}``."""
    found = {key: getattr(training, key) for key in PLAIN if getattr(training, key) != PLAIN[key]}
    return {"carried_out": found} if found else {}


def used(numerics: Numerics) -> str:
    """What a job's numbers were computed with, for the run card: "AVX2" or "native"."""
    return "AVX2" if numerics == "portable" and has_avx2() else "native"
