"""What each arm's training cost beside Base's, from the run cards: so that a gain can be held against the compute it took.

It stands in files of its own, because seconds differ from run to run while Tables 1 to 3 are the same bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.artifacts.files import read_json
from agrepa.evaluation.rows import BASE
from agrepa.reporting.layout import EMPTY, Grid, Page, count, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agrepa.params.arms import Arm

NAME = "cost"
WARMUP, TRAIN = "warmup", "train"
SHARED = "Warm-up, shared by all arms"
COLUMNS = ["method", "arm", "trainings", "seconds", "threads", "core_seconds", "probe_core_seconds", "ratio", "ratio_with_probe"]
CAPTION = (
    "Core-seconds: wall-clock seconds of the job times its threads, the mean over trainings; other jobs on the machine lengthen "
    "them, and a training that was resumed counts from its last start. Probe: the job that scored the layers for the arm's "
    "strategy, with its controls. Ratios are to Base's training, without the warm-up."
)
HEADER = ("method", "trainings", "seconds", "threads", "core-seconds", "probe, core-seconds", "over Base", "with its probe")


def read_cards(folder: Path) -> list[dict[str, Any]]:
    """The run cards that were kept beside the results; none where there is no folder."""
    return [read_json(path) for path in sorted(folder.glob("*.json"))]


def compute(rows: Mapping[str, Arm], cards: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One line a trained row, the warm-up first, then the arms in the order of arms.yaml; no lines without cards of trainings.

    ``core_seconds`` is a training's mean, ``probe_core_seconds`` that of the probe behind the arm's strategy (empty where it
    has none), and the ratios are over Base's ``core_seconds`` (empty without Base).
    """
    jobs: dict[str, list[Mapping[str, Any]]] = {}
    for card in cards:
        jobs.setdefault(card["wildcards"]["arm"] if card["stage"] == TRAIN else f"stage {card['stage']}", []).append(card)
    trained = {arm: jobs[arm] for arm in rows if arm in jobs}
    base = core_seconds(trained[BASE]) if BASE in trained else float("nan")
    lines = []
    named = {SHARED: ("", jobs.get(f"stage {WARMUP}", [])), **{rows[arm].label: (arm, mine) for arm, mine in trained.items()}}
    for label, (arm, mine) in named.items():
        if not trained or not mine:
            continue
        probed = jobs.get(f"stage {rows[arm].strategy}") if arm else None
        own, probe = core_seconds(mine), core_seconds(probed) if probed else float("nan")
        seconds = sum(card["seconds"] for card in mine) / len(mine)
        ratios = (own / base, (own + (probe if probed else 0)) / base)
        lines.append((label, arm, len(mine), seconds, max(card["threads"] for card in mine), own, probe, *ratios))
    return pd.DataFrame(lines, columns=COLUMNS)


def core_seconds(cards: Sequence[Mapping[str, Any]]) -> float:
    """Seconds times threads, the mean over jobs."""
    return float(sum(card["seconds"] * card["threads"] for card in cards) / len(cards))


def layout(frame: pd.DataFrame) -> list[Grid]:
    """The table as text; nothing where no training is known."""
    rows = tuple(
        (
            line.method,
            count(line.trainings),
            count(line.seconds),
            count(line.threads),
            count(line.core_seconds),
            count(line.probe_core_seconds),
            number(line.ratio, 2),
            number(line.ratio_with_probe, 2) if line.arm else EMPTY,
        )
        for line in frame.itertuples()
    )
    return [Grid("Cost of training", HEADER, rows, ("",) * len(HEADER))] if rows else []


def page(frame: pd.DataFrame, note: str) -> Page:
    """The table with its words.

    Args:
        note: what data were trained on.
    """
    return Page(NAME, "Cost of training beside Base", note, CAPTION, reading(frame), (), tuple(layout(frame)))


def under(scores: Page, frame: pd.DataFrame) -> Page:
    """A table of scores with the cost of its rows as a last part."""
    shown = [SHARED, *(row[0] for row in scores.grids[0].rows)]
    return replace(scores, grids=(*scores.grids, *layout(frame[frame["method"].isin(shown)])))


def reading(frame: pd.DataFrame) -> str:
    """How much more than Base's training the arms' take."""
    arms = frame[(frame["arm"] != "") & (frame["arm"] != BASE) & frame["ratio"].notna()]
    if arms.empty:
        return "No run card of Base's and another arm's training was kept: there is nothing to compare."
    told = [
        f"{line.method} {number(line.ratio, 2)}"
        + (f" ({number(line.ratio_with_probe, 2)} with its probe)" if line.ratio_with_probe > line.ratio else "")
        for line in arms.itertuples()
    ]
    return f"Training over Base's, in core-seconds: {'; '.join(told)}."
