"""How far a score moves when everything is done again with other seeds, and the interval in which another run must lie.

A whole replication has other seeds for all that is drawn: warm-up, codebooks, training, lists. The standard deviation of a
metric is pooled over the rows that were trained: two or three runs leave one row one or two degrees of freedom, for which the
quantile of t is 12.7 or 4.3, and the arms of an experiment, which differ in a helper loss alone, spread about alike. Rows of
one run share a warm-up, so their degrees of freedom are somewhat fewer than the sum that is counted here.

Anchors are not trained and have no part in this.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import sqrt

import numpy as np
import pandas as pd
from scipy import stats

from agrepa.errors import ArtifactError
from agrepa.evaluation.rows import ANCHORS
from agrepa.evaluation.statistics import LEVEL
from agrepa.reporting.revisions import numbers

COLUMNS = ["metric", "domain", "rows", "n", "sd", "freedom"]


def spread(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The spread of every metric over whole replications.

    With R rows and n runs, sd² = Σ_rows Σ_runs (value - the row's mean)² / freedom, where freedom = R (n - 1).

    Args:
        runs: tables of scores (``revisions.scores``), each of other seeds.

    Returns:
        One line a metric, columns ``COLUMNS``: its domain, the rows pooled (separated by spaces), how many runs, the standard
        deviation of one run in the metric's unit, and its degrees of freedom.

    Raises ArtifactError for fewer than two runs, or when a run lacks a score that another has.
    """
    if len(runs) < 2:
        raise ArtifactError(
            f"a spread is over two runs at least, not {len(runs)}: name the scores folders of runs with other seeds"
        )
    names = [name for name in runs[0].index if name[0] not in ANCHORS]
    for place, run in enumerate(runs):
        if other := set(names) ^ {name for name in run.index if name[0] not in ANCHORS}:
            row, metric = min(other)
            raise ArtifactError(f"runs 1 and {place + 1} do not both have {metric} of {row}: name runs of one experiment")
    values = pd.concat([numbers(run).value for run in runs], axis=1).loc[names]
    squares = values.sub(values.mean(axis=1), axis=0).pow(2).sum(axis=1)
    lines = []
    for metric in dict.fromkeys(metric for _, metric in names):
        rows = [row for row, its in names if its == metric]
        freedom = len(rows) * (len(runs) - 1)
        sd = sqrt(sum(squares[row, metric] for row in rows) / freedom)
        lines.append((metric, metric.split("_", 1)[0], " ".join(rows), len(runs), f"{sd:.6g}", freedom))
    return pd.DataFrame(lines, columns=COLUMNS)


def read(data: bytes, where: str) -> pd.DataFrame:
    """A published spread by metric, with sd and freedom as numbers.

    Args:
        where: what an error calls it.

    Raises ArtifactError when it lacks a column, or a deviation or its degrees of freedom are none.
    """
    try:
        frame = pd.read_csv(io.BytesIO(data))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{where} is not a readable CSV file ({error}): make it with agrepa spread") from None
    if missing := [column for column in COLUMNS if column not in frame]:
        raise ArtifactError(f"{where} lacks the columns {', '.join(missing)}: make it with agrepa spread")
    sizes = frame[["sd", "freedom"]].apply(pd.to_numeric, errors="coerce")
    wrong = frame[~((sizes.sd >= 0) & np.isfinite(sizes.sd) & (sizes.freedom > 0))]
    if len(wrong):
        line = wrong.iloc[0]
        found = f"sd {line.sd} and freedom {line.freedom}"
        raise ArtifactError(f"{where}: {line.metric} has {found}, which are no spread: make it with agrepa spread")
    return frame.assign(**sizes).set_index("metric")


def half_width(sd: float, freedom: float, published: int = 1) -> float:
    """Half the 95 % interval in which one more run lies, about the mean of the published ones:

        t(0.975; freedom) · sd · √(1 + 1 / published)

    This is the prediction interval for one future observation of a normal distribution (Hahn & Meeker 1991, Statistical
    Intervals, chapter 4), with a deviation that is known from other replications. The 1 is the new run, 1 / published the
    run or the mean of the runs at the centre; √2 where that is one run, however many went into ``sd``. The interval over clips
    has no part in it: both runs are scored on the same clips, so that what these clips are cancels, and what one training
    does to each of them is already in ``sd``.

    Args:
        sd: of one run, in the metric's unit.
        freedom: degrees of freedom of ``sd``.
        published: how many runs the centre is the mean of.
    """
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * sd * sqrt(1 + 1 / published)
