"""What the paper's released code does otherwise, each departure by itself and all of them: what each moves against AG-REPA."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.domains import DOMAINS
from agrepa.evaluation.rows import BASE
from agrepa.reporting.layout import EMPTY, NOT_RUN, Grid, interval, listed, number
from agrepa.reporting.table_scores import aligned, unheard
from agrepa.reporting.table_variants import missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agrepa.params.arms import Arm
    from agrepa.reporting.metrics import Metric

NAME = "released"
TITLE = "The released code's departures from the paper"
REFERENCE = "ag_repa"
DEPARTURES = {
    "released_probe": "probe",
    "released_weights": "weights",
    "released_start": "start",
    "released_interface": "token embedding",
    "released_steps": "sampling steps",
    "as_released": "all of these",
}
"""The arms, in their order, and what sets each apart from ``REFERENCE``."""
NUMBERS = ["difference", "low", "high", "p", "n"]
COLUMNS = ["method", "arm", "departs", "layers_speech", "layers_audio", "run", "metric", *NUMBERS, "half_width", "sd", "judged"]


def chosen(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that the table shows: WER, Frechet distances and flow loss."""
    return [m for m in metrics if m.name == "speech_wer" or m.embedding or m.name.endswith("_flow_loss")]


def compute(
    rows: Mapping[str, Arm], scores: pd.DataFrame, pairs: pd.DataFrame, metrics: Sequence[Metric], selections: dict[str, Any]
) -> pd.DataFrame:
    """One line an (arm, metric): its paired difference to AG-REPA, and first AG-REPA's own to Base.

    ``half_width`` is half the interval, ``sd`` the deviation of one seed's difference (empty of a single seed), and ``run`` and
    ``judged`` are 1 where the arm was run and where speech is understood well enough to compare.
    """
    known, lines = set(scores["row"]), []
    gaps = {(r.first, r.second, r.metric): r for r in pairs.itertuples()}
    own = scores[scores["row"] == REFERENCE].set_index("metric")
    for arm in [arm for arm in (REFERENCE, *DEPARTURES) if arm in rows]:
        begin = {"method": rows[arm].label, "arm": arm, "departs": DEPARTURES.get(arm, ""), "run": int(arm in known)}
        for domain in DOMAINS:
            begin[f"layers_{domain}"] = aligned(rows, selections, arm, domain)[0] if arm in known else ""
        for metric in chosen(metrics):
            numbers = dict.fromkeys([*NUMBERS, "sd"], float("nan"))
            if arm == REFERENCE and metric.name in own.index:
                ends = ("difference", "difference_low", "difference_high", "difference_p", "n")
                numbers |= {name: own.loc[metric.name, end] for name, end in zip(NUMBERS, ends, strict=True)}
            elif r := gaps.get((arm, REFERENCE, metric.name)):
                numbers |= {"difference": r.difference, "low": r.low, "high": r.high, "p": r.p, "n": r.n, "sd": r.sd}
            elif r := gaps.get((REFERENCE, arm, metric.name)):
                numbers |= {"difference": -r.difference, "low": -r.high, "high": -r.low, "p": r.p, "n": r.n, "sd": r.sd}
            numbers["half_width"] = (numbers["high"] - numbers["low"]) / 2
            judged = not unheard(scores, [arm, BASE if arm == REFERENCE else REFERENCE], metric.name)
            lines.append(begin | {"metric": metric.name, **numbers, "judged": int(judged)})
    return pd.DataFrame(lines, columns=COLUMNS)


def floor(line: Any) -> float:
    """What a difference has to exceed: half the width of its interval, and of several seeds its deviation over them."""
    return line.half_width if isnan(line.sd) else max(line.half_width, line.sd)


def layout(frame: pd.DataFrame, metrics: Sequence[Metric]) -> list[Grid]:
    """The table as text: differences, and the noise floor of each."""
    titles = [metric.full_title for metric in chosen(metrics)]
    rows, floors = [], []
    for (method, arm), lines in frame.groupby(["method", "arm"], sort=False):
        first = lines.iloc[0]
        against = "Base" if arm == REFERENCE else frame.loc[frame["arm"] == REFERENCE, "method"].iloc[0]
        layers = [listed(first[f"layers_{domain}"]) for domain in DOMAINS]
        gaps = [interval(line.difference, line.low, line.high, signed=True) for line in lines.itertuples()]
        shown = gaps if first["run"] else [NOT_RUN] * len(gaps)
        rows.append((method, first["departs"] or EMPTY, against, *layers, *shown))
        if first["run"]:
            both = [(line.half_width, line.sd) for line in lines.itertuples()]
            floors.append((method, *(number(half) + ("" if isnan(sd) else f" / {number(sd)}") for half, sd in both)))
    header = ("method", "departs in", "less", "layers, speech", "layers, audio", *titles)
    grids = [Grid("Paired differences", header, tuple(rows), ("",) * len(header))]
    if floors:
        several = " / deviation of one seed's difference" if frame["sd"].notna().any() else ""
        title = f"Noise floor: half the width of the interval{several}"
        grids.append(Grid(title, ("method", *titles), tuple(floors), ("",) * (1 + len(titles))))
    return grids


def reading(frame: pd.DataFrame, metrics: Sequence[Metric]) -> str:
    """Which departures move anything beyond the noise floor."""
    if frame[(frame["arm"] == REFERENCE) & (frame["run"] == 1)].empty:
        return f"This experiment did not run {REFERENCE}, which the departures are held against."
    ran = frame[(frame["arm"] != REFERENCE) & (frame["run"] == 1)]
    if ran.empty:
        return "This experiment ran none of the departures."
    known = {metric.name: metric for metric in metrics}
    judged = [line for line in ran.itertuples() if line.judged and not isnan(line.half_width)]
    moved: dict[str, list[str]] = {}
    for line in judged:
        if abs(line.difference) > floor(line):
            gap = interval(line.difference, line.low, line.high, signed=True)
            moved.setdefault(line.method, []).append(f"{known[line.metric].full_title} {gap}")
    whole = f"{len(judged)} differences, of which one in twenty would be beyond it by chance"
    if not moved:
        return f"No departure moves anything beyond the noise floor ({whole})."
    found = "; ".join(f"{method}: {', '.join(words)}" for method, words in moved.items())
    still = [method for method in dict.fromkeys(ran["method"]) if method not in moved]
    rest = f" Nothing is moved beyond it by {', '.join(still)}." if still else ""
    return f"Beyond the noise floor ({whole}): {found}.{rest}"


def notes(frame: pd.DataFrame) -> list[str]:
    """Which departures were not run, and how to run them; nothing where all were."""
    return [note for note in [missing(frame)] if note]
