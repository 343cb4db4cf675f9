"""Evidence from arms: two of them metric by metric, and the steps that one takes to come as far as Base."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isnan
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from agrepa.domains import DOMAINS
from agrepa.evaluation.rows import BASE
from agrepa.reporting.evidence import CONTRADICTED, NOT_JUDGED, SUPPORTED, UNDECIDED, Evidence
from agrepa.reporting.layout import EMPTY, NOT_RUN
from agrepa.reporting.table_scores import unheard
from agrepa.reporting.table_steps import SERIES, steps_to

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agrepa.params.arms import Arm
    from agrepa.reporting.metrics import Metric

MARGIN = 0.05  # part of Base's value; the paper's deep layers gain 2 to 4 % of it, its other fixed layers 5 to 38 %
FASTER = 2.0  # what "about three times" must at least be


class Gap(NamedTuple):
    """A paired difference."""

    value: float
    low: float
    high: float
    p: float
    n: float


class Arms:
    """What is known of the arms that were run.

    Args:
        rows: the rows of ``arms.yaml``.
        scores: of ``scores.csv``; pairs: of ``pairs.csv``.
        metrics: those that the claims are judged by.
    """

    def __init__(self, rows: Mapping[str, Arm], scores: pd.DataFrame, pairs: pd.DataFrame, metrics: Sequence[Metric]) -> None:
        self.rows, self.scores, self.metrics = rows, scores, metrics
        self._gaps: dict[tuple[str, str, str], Gap] = {}
        for r in scores[scores["difference"].notna()].itertuples():
            self._add(r.row, BASE, r.metric, Gap(r.difference, r.difference_low, r.difference_high, r.difference_p, r.n))
        for r in pairs.itertuples():
            self._add(r.first, r.second, r.metric, Gap(r.difference, r.low, r.high, r.p, r.n))

    def _add(self, first: str, second: str, metric: str, gap: Gap) -> None:
        self._gaps[first, second, metric] = gap
        self._gaps[second, first, metric] = gap._replace(value=-gap.value, low=-gap.high, high=-gap.low)

    def gap(self, first: str, second: str, metric: str) -> Gap | None:
        """The paired difference, first less second; None where it was not measured."""
        return self._gaps.get((first, second, metric))

    def missing(self, *arms: str) -> tuple[str, ...]:
        """Those of some arms that were not run."""
        known = set(self.scores["row"])
        return tuple(arm for arm in arms if arm not in known)

    def label(self, arm: str) -> str:
        """An arm's name for a reader."""
        return self.rows[arm].label if arm in self.rows else arm

    def against(self, better: str, worse: str) -> list[Evidence]:
        """The evidence that one arm is better than another, a line a metric."""
        part = f"{self.label(better)} against {self.label(worse)}"
        if missing := self.missing(better, worse):
            return [Evidence(part, EMPTY, says=NOT_RUN, missing=missing)]
        lines = []
        for metric in self.metrics:
            if (gap := self.gap(better, worse, metric.name)) is not None:
                says = NOT_JUDGED if unheard(self.scores, [better, worse], metric.name) else UNDECIDED
                test = (*sorted((better, worse)), metric.name)
                sign = -1 if metric.lower_is_better else 1
                lines.append(Evidence(part, metric.full_title, *gap[:3], n=gap.n, p=gap.p, test=test, sign=sign, says=says))
        return lines or [Evidence(part, EMPTY, says=NOT_JUDGED)]

    def no_help(self, arm: str) -> list[Evidence]:
        """The evidence that an arm is no better than Base, each metric a part of its own.

        It is supported where the interval leaves out a gain of MARGIN of Base's value: then no correction is due, since only
        all metrics together support the claim (Berger 1982). A metric in which the arm is surely better contradicts it.
        """
        lines = []
        values = self.scores[self.scores["row"] == BASE].set_index("metric")["value"]
        titles = {metric.full_title: metric.name for metric in self.metrics}
        for line in self.against(arm, BASE):
            if not line.test:
                return [line]
            if line.says == UNDECIDED:
                margin = MARGIN * values[titles[line.measure]]
                most = -line.low if line.sign < 0 else line.high  # the largest gain that the interval holds
                line = replace(line, says=SUPPORTED if margin > 0 and most < margin else UNDECIDED)
            lines.append(replace(line, part=f"{line.part}: {line.measure}", sign=-line.sign))
        return lines

    def sooner(self, arm: str, curves: pd.DataFrame, warmup_steps: int) -> list[Evidence]:
        """The evidence that an arm needs far fewer steps than Base, counted from the end of the warm-up that both share.

        The effect is Base's steps over those after which the arm's validation loss is at most Base's last one. Its interval
        holds every ratio at which the arm's loss is not told from that one: it lies between the first validations at which the
        loss is at most Base's last one plus, and less, half the width of the paired interval of the final flow losses. As
        losses are known at validations alone, the upper end is that of the validation before.
        """
        part = f"{self.label(arm)}: steps to Base's last loss"
        if missing := self.missing(arm, BASE):
            return [Evidence(part, EMPTY, says=NOT_RUN, missing=missing)]
        lines = []
        for domain in DOMAINS:
            gap = self.gap(arm, BASE, f"{domain}_flow_loss")
            mine = curves[curves["series"] == f"{SERIES}_{domain}"].assign(series=SERIES)
            known = mine[mine["row"] == BASE].groupby("step")["value"].mean()
            if gap is None or isnan(gap.low) or known.empty:
                continue
            half, level, last = (gap.high - gap.low) / 2, float(known.iloc[-1]), float(known.index[-1])
            first, reached, surely = (steps_to(mine, arm, level + shift) for shift in (half, 0.0, -half))
            earlier = [float(step) for step in known.index if warmup_steps < step < first]
            start = last if isnan(first) else max(earlier, default=float(warmup_steps))
            whole = last - warmup_steps
            effect = whole / (reached - warmup_steps)
            low = 0.0 if isnan(surely) else whole / (surely - warmup_steps)
            high = whole / (start - warmup_steps) if start > warmup_steps else inf
            says = SUPPORTED if low >= FASTER else CONTRADICTED if high <= FASTER else UNDECIDED
            measure = f"{domain} flow loss: Base's steps over its own"
            lines.append(Evidence(part, measure, effect, low, high, n=gap.n, says=says))
        return lines or [Evidence(part, EMPTY, says=NOT_JUDGED)]
