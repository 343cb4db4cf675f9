"""What speaks for or against a claim: one measured number with its interval, and how several of them make a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

from agrepa.evaluation.statistics import holm
from agrepa.reporting.layout import NOT_RUN
from agrepa.reporting.table_scores import CHANCE, NOT_JUDGED

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_JUDGED, NOT_RUN)


@dataclass(frozen=True)
class Evidence:
    """One number that bears on a claim.

    Attributes:
        part: what of the claim it bears on, e.g. one arm against another.
        measure: what was measured, with its unit.
        effect, low, high: the number and its 95 % interval; NaN where there is none.
        n: clips or layers behind it.
        p: of the test that the effect is 0; NaN where the interval is held against another number than 0.
        test: what tells this test from others: it counts once in Holm's correction, however many claims it bears on.
        sign: that of an effect which speaks for the claim, 1 or -1.
        says: its verdict, as far as that is not the test's.
        missing: the arms that would have to be run.
    """

    part: str
    measure: str
    effect: float = nan
    low: float = nan
    high: float = nan
    n: float = nan
    p: float = nan
    p_holm: float = nan
    test: tuple[str, ...] = ()
    sign: int = 1
    says: str = UNDECIDED
    missing: tuple[str, ...] = ()

    @property
    def detectable(self) -> float:
        """Half the width of the interval where nothing is decided: no smaller effect could have been told from 0."""
        return (self.high - self.low) / 2 if self.says == UNDECIDED and not isnan(self.p) else nan


def corrected(found: Sequence[Evidence]) -> list[Evidence]:
    """The same with ``p_holm`` over every test among them, and what a test says where that is below 0.05."""
    tests = {line.test: line.p for line in found if line.says != NOT_JUDGED and not isnan(line.p)}
    adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
    return [_decided(line, adjusted[line.test]) if line.test in adjusted else line for line in found]


def _decided(line: Evidence, p: float) -> Evidence:
    if p >= CHANCE:
        return replace(line, p_holm=p)
    return replace(line, p_holm=p, says=SUPPORTED if line.effect * line.sign > 0 else CONTRADICTED)


def of_part(said: Iterable[str]) -> str:
    """The verdict of the lines of one part: what one of them says and none denies."""
    known = {one for one in said if one != NOT_JUDGED}
    if not known:
        return NOT_JUDGED
    if NOT_RUN in known:
        return NOT_RUN
    decided = known - {UNDECIDED}
    return decided.pop() if len(decided) == 1 else UNDECIDED


def of_claim(parts: Iterable[str]) -> str:
    """The verdict of a claim: one part contradicts it, only all of those that can be judged support it."""
    known = {part for part in parts if part != NOT_JUDGED}
    if not known:
        return NOT_JUDGED
    for verdict in (CONTRADICTED, NOT_RUN, UNDECIDED):
        if verdict in known:
            return verdict
    return SUPPORTED
