"""How the verdicts on the claims are shown, in ``claims.md`` and on the page of the experiment, from ``claims.csv`` alone."""

from __future__ import annotations

from math import isinf, isnan
from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.reporting.collected import read_csv
from agrepa.reporting.evidence import CONTRADICTED, SUPPORTED, UNDECIDED, VERDICTS
from agrepa.reporting.evidence_arms import FASTER, MARGIN
from agrepa.reporting.evidence_layers import OVERLAP
from agrepa.reporting.layout import EMPTY, NOT_RUN, Grid, Page, count, interval, listed, number
from agrepa.reporting.table_scores import NOT_JUDGED, UNINTELLIGIBLE
from agrepa.reporting.tables import data_note

if TYPE_CHECKING:
    from pathlib import Path

    from agrepa.params.stages import ClaimsSettings, ReportSettings

CLAIMS = {
    "dissociation": "Layers that store are not the layers that contribute: over layers LASP and FoG-A are negatively correlated, "
    "and their best three are other layers.",
    "selection": "Layers chosen by FoG-A are better ones to align than layers chosen by LASP.",
    "fixed_layers": "AG-REPA is better than every fixed choice of layers, and at equal weights FoG-A's layers are better than "
    "the first three.",
    "deep_layers": "Aligning deep layers does not help.",
    "steps": "AG-REPA needs about a third of the steps to come as far as Base.",
    "order": "As layers to align, FoG-A's are better than the gradient norm's, these than LASP's, and these than random ones.",
    "stability": "The layers that FoG-A puts first are settled when the warm-up ends.",
    "beyond_update_size": "FoG-A says more than the size of a layer's update. (Not the paper's.)",
    "beyond_mean_ablation": "FoG-A says more than mean-ablation. (Not the paper's.)",
}
"""The claims, in the order of the page."""
NUMBERS = ["effect", "low", "high", "n", "p", "p_holm", "detectable"]
COLUMNS = ["claim", "verdict", "part", "measure", *NUMBERS, "says", "missing"]
HEADER = ("comparison", "measure", "effect", "n", "p (Holm)", "detectable", "says")
TITLE = "The claims, one by one"


def read_claims(path: Path) -> pd.DataFrame:
    """``claims.csv``; raises ArtifactError as ``read_csv`` does."""
    return read_csv(path, COLUMNS, NUMBERS)


def page(p: ClaimsSettings | ReportSettings, frame: pd.DataFrame) -> Page:
    """The verdicts, what each rests on, and the numbers behind them."""
    by_claim = {claim: frame[frame["claim"] == claim] for claim in CLAIMS}
    known = {claim: mine for claim, mine in by_claim.items() if len(mine)}
    verdicts = {claim: str(mine["verdict"].iloc[0]) for claim, mine in known.items()}
    notes = [f"{CLAIMS[claim]} {verdict.capitalize()}: {because(known[claim], verdict)}" for claim, verdict in verdicts.items()]
    return Page("claims", TITLE, data_note(p), _caption(p), _reading(verdicts), tuple(notes), tuple(map(_grid, known.values())))


def because(mine: pd.DataFrame, verdict: str) -> str:
    """What a verdict rests on: the numbers that make it, the arms that are missing, or what could have been seen."""
    if verdict == NOT_RUN:
        missing = list(dict.fromkeys(arm for cell in mine["missing"] for arm in cell.split()))
        return f"name under arms in the params: {', '.join(missing)}."
    if verdict == NOT_JUDGED:
        return f"{_listed(mine)}."
    if verdict != UNDECIDED:
        return f"{_listed(mine[mine['says'] == verdict])}."
    told = [f"{word} by {_listed(mine[mine['says'] == word])}" for word in (SUPPORTED, CONTRADICTED) if word in set(mine["says"])]
    seen = mine[mine["detectable"].notna()].groupby("measure", sort=False)["detectable"].median()
    if len(seen):
        told.append(f"detectable at the least: {', '.join(f'{measure} {number(size)}' for measure, size in seen.items())}")
    return f"{'; '.join(told) or 'no interval leaves out what the claim denies'}."


def _listed(mine: pd.DataFrame) -> str:
    texts = []
    for r in mine.itertuples():
        measure = "" if r.measure in r.part else f"{r.measure} "
        texts.append(r.part if r.measure == EMPTY else f"{r.part} ({measure}{_effect(r)})")
    return "; ".join(texts)


def _effect(r: Any) -> str:
    """The effect with its interval; the number of steps to a loss may have neither value nor upper end."""
    if isinf(r.high) or (isnan(r.effect) and not isnan(r.low)):
        value = "not reached" if isnan(r.effect) else number(r.effect)
        return f"{value} [{number(r.low)}, {'no upper end' if isinf(r.high) else number(r.high)}]"
    return interval(r.effect, r.low, r.high, signed=not isnan(r.p))


def _reading(verdicts: dict[str, str]) -> str:
    told = []
    for verdict in VERDICTS:
        names = [claim.replace("_", " ") for claim, found in verdicts.items() if found == verdict]
        if names:
            told.append(f"{verdict}: {', '.join(names)}")
    return f"At this scale, of {len(verdicts)} claims: {'; '.join(told)}."


def _grid(mine: pd.DataFrame) -> Grid:
    title = f"{mine['claim'].iloc[0].replace('_', ' ').capitalize()}: {mine['verdict'].iloc[0]}"
    rows = tuple(
        (
            r.part, r.measure, _effect(r), count(r.n), number(r.p_holm),
            number(r.detectable), f"{NOT_RUN}: {listed(r.missing)}" if r.missing else r.says or EMPTY,
        )
        for r in mine.itertuples()
    )  # fmt: skip
    return Grid(title, HEADER, rows, ("",) * len(HEADER))


def _caption(p: ClaimsSettings | ReportSettings) -> str:
    return (
        "Arms are held against each other in WER, flow loss and FAD: the effect is the first less the second, paired clip "
        "by clip, with a 95 % interval as in Table 2. Rank correlations: Spearman's, interval over layers (Bonett & "
        "Wright), with controls of FoG-A over clips. A test says something where p is below 0.05 after Holm's correction "
        "over all tests of this page; a comparison of two arms does where one metric says it and none the opposite. A "
        "claim is supported where all of its comparisons are, contradicted where one is. Undecided is no evidence of no "
        "effect: detectable is half the width of the interval. Without a test against zero, by their interval alone: that "
        f"deep layers do not help, where a gain of {100 * MARGIN:g} % of Base's value is left out; orders of layers, which "
        f"are the same from a rank correlation of {p.settled:g} on; overlaps, which have no interval, from {OVERLAP:g} on; "
        f"steps, from the end of the warm-up, where Base's are at least {FASTER:g} times as many. WER is not judged where "
        f"that of either arm is above {UNINTELLIGIBLE} %, LASP not where it does not clear its floors. Trainings of "
        "several seeds share the warm-up, and thus the layers chosen."
    )
