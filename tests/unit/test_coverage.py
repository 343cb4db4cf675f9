"""The 95 % intervals hold the truth as often as they say: a short version of ``benchmarks/coverage.py``, and its table."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
TRIALS, SLOW_TRIALS = 500, 30


def simulations() -> ModuleType:
    """The benchmark, under a name that no package has."""
    spec = importlib.util.spec_from_file_location("simulated_coverage", ROOT / "benchmarks" / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SIMULATED = simulations()
CASES = list(SIMULATED.cases())


def covered(inside: list[bool], band: tuple[float, float] = SIMULATED.BAND) -> bool:
    """Whether what was counted is likely (99 % on either side) of an interval that covers as much as the band says."""
    low, high = (stats.binom.ppf(p, len(inside), cover) for p, cover in zip((0.01, 0.99), band, strict=True))
    return bool(low <= sum(inside) <= high)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[f"{case.interval}, {case.clusters}" for case in CASES])
def test_an_interval_holds_the_truth_as_often_as_it_says(case) -> None:
    inside = case.run(np.random.default_rng(1), SLOW_TRIALS if case.slow else TRIALS)
    assert covered(inside, case.band), np.mean(inside)


@pytest.mark.slow
def test_the_percentile_bootstrap_over_ten_speakers_would_not() -> None:
    """What the jackknife took the place of, and that ``covered`` can tell."""
    inside = SIMULATED.percentile_bootstrap(np.random.default_rng(1), TRIALS, 10)
    assert not covered(inside) and np.mean(inside) < 0.92


def test_the_table_has_every_interval_within_its_band() -> None:
    table = pd.read_csv(ROOT / "results" / "coverage.csv")
    assert list(table) == SIMULATED.COLUMNS
    assert list(zip(table.interval, table.clusters, strict=True)) == [(case.interval, case.clusters) for case in CASES]
    for line, case in zip(table.itertuples(), CASES, strict=True):
        assert line.low <= case.band[1] and line.high >= case.band[0], line.interval
