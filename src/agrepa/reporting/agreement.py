"""Whether the scores of a run agree with published ones: to the byte, or within the interval of each."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from scipy import stats

from agrepa.evaluation.rows import ANCHORS
from agrepa.evaluation.statistics import LEVEL
from agrepa.reporting.revisions import numbers
from agrepa.reporting.spread import half_width

SAME, INSIDE, OUTSIDE, UNBOUNDED, MISSING, NEW = "same", "inside", "outside", "no interval", "missing", "new"
COLUMNS = ["row", "metric", "verdict", "published", "low", "high", "found", "cells"]
ALLOWED = 0.99


@dataclass(frozen=True)
class Agreement:
    """Every score of two runs side by side.

    Attributes:
        scores: one line a (row, metric), columns ``COLUMNS``: the verdict, one of the six above; the published value with the
            interval that the found one should lie in; and the cells that differ, as they are written.
    """

    scores: pd.DataFrame

    def count(self, *verdicts: str) -> int:
        """How many scores have one of these verdicts."""
        return int(self.scores.verdict.isin(verdicts).sum())

    @property
    def judged(self) -> int:
        """Scores that differ and have an interval."""
        return self.count(INSIDE, OUTSIDE)

    @property
    def expected(self) -> float:
        """How many of these lie outside by chance alone."""
        return (1 - LEVEL) * self.judged

    @property
    def allowed(self) -> int:
        """The most that lie outside with 99 % probability: that quantile of the binomial of ``judged`` scores at 5 %."""
        return int(stats.binom.ppf(ALLOWED, self.judged, 1 - LEVEL)) if self.judged else 0

    def passed(self, alike: bool) -> bool:
        """Whether the published scores came out again.

        Args:
            alike: both runs were computed alike, so that each published score must be there to the byte. Else no more may lie
                outside than are allowed, and none may be missing or differ without an interval.
        """
        if alike or not self.judged:
            return not self.count(INSIDE, OUTSIDE, UNBOUNDED, MISSING)
        return self.count(OUTSIDE) <= self.allowed and not self.count(UNBOUNDED, MISSING)


def agreement(published: pd.DataFrame, found: pd.DataFrame, spread: pd.DataFrame | None) -> Agreement:
    """Compare two tables of scores (``revisions.scores``), every cell that was published.

    A trained row's interval is the published value ± ``spread.half_width``. An anchor's is the published one over clips, and so
    is that of a metric whose spread is not known; it leaves out what another training would do.

    Args:
        spread: the published one, by metric, or None where there is none.
    """
    before, after = numbers(published), numbers(found)
    lines = []
    for name in dict.fromkeys([*published.index, *found.index]):
        row, metric = name
        if name not in published.index:
            lines.append((row, metric, NEW, *(float("nan"),) * 3, after.value[name], ""))
            continue
        value, low, high = (float(number) for number in before.loc[name])
        if spread is not None and row not in ANCHORS and metric in spread.index:
            half = half_width(float(spread.sd[metric]), float(spread.freedom[metric]))
            low, high = value - half, value + half
        if name not in found.index:
            lines.append((row, metric, MISSING, value, low, high, float("nan"), ""))
            continue
        now, cells = float(after.value[name]), differing(published, found, name)
        verdict = SAME if not cells else UNBOUNDED if pd.isna(low + high) else INSIDE if low <= now <= high else OUTSIDE
        lines.append((row, metric, verdict, value, low, high, now, cells))
    return Agreement(pd.DataFrame(lines, columns=COLUMNS))


def differing(published: pd.DataFrame, found: pd.DataFrame, name: tuple[str, str]) -> str:
    """The cells of a published score that are not found again, as ``column published > found``; empty where all are."""
    before, after = published.loc[name].to_dict(), found.loc[name].to_dict()
    pairs = [(column, old, after.get(column, "no such column")) for column, old in before.items()]
    return ", ".join(f"{column} {old or '-'} > {new or '-'}" for column, old, new in pairs if old != new)
