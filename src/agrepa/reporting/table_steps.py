"""Table 6: what selecting layers costs, and whether a row needs fewer steps than Base to come as far."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import pandas as pd

from agrepa.evaluation.rows import BASE
from agrepa.reporting.layout import EMPTY, Grid, count, number, printed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agrepa.params.arms import Arm
    from agrepa.params.probes import Probes
    from agrepa.params.training import Training
    from agrepa.reporting.paper import Paper

TITLE = "Table 6: what it costs, in steps and forwards"
SERIES = "validation_flow"
METHODS = {"lasp": "LASP-selected REPA", "fog_a": "AG-REPA"}
"""Strategies and the paper's rows; the paper's costs are relative to training by LASP's layers."""
COLUMNS = [
    *("method", "arm", "steps", "training_cost", "probe_forwards", "probe_cost"),
    *("paper_training_cost", "paper_probe_cost"),
]
BACKWARD = 3  # a step costs three forwards: the backward pass costs two


def forwards(strategy: str, probes: Probes, depth: int, domains: int) -> float:
    """Forward passes of one clip that choosing the layers takes; 0 for a strategy without a probe.

    FoG-A runs the layers above each gate once more, so (depth + 3) / 2 passes a clip and time, and as released all of them, depth
    + 1; LASP one; the gradient norm three.
    """
    passes = {"fog_a": (depth + 3) / 2, "fog_a_released": depth + 1.0, "lasp": 1.0, "gradient_norm": float(BACKWARD)}
    if strategy not in passes:
        return 0.0
    settings = getattr(probes, strategy)
    return domains * settings.clips * len(settings.times) * passes[strategy]


def steps_to(curves: pd.DataFrame, arm: str, level: float) -> float:
    """The first step at which the mean validation loss of an arm's trainings is at most ``level``; NaN if at none."""
    mine = curves[(curves["row"] == arm) & (curves["series"] == SERIES)].groupby("step")["value"].mean()
    reached = mine[mine <= level]
    return float(reached.index.min()) if len(reached) else float("nan")


def compute(
    rows: Mapping[str, Arm], curves: pd.DataFrame, probes: Probes, training: Training, depth: int, domains: int, paper: Paper
) -> pd.DataFrame:
    """One line an arm that was trained: ``steps`` to Base's last validation loss, and the probe's forwards over training's."""
    levels = curves[(curves["row"] == BASE) & (curves["series"] == SERIES)].groupby("step")["value"].mean()
    if levels.empty:
        return pd.DataFrame(columns=COLUMNS)
    last, level = float(levels.index[-1]), float(levels.iloc[-1])
    clips = training.batch_frames / (training.crop_frames or training.batch_frames)
    whole = BACKWARD * clips * (training.warmup_steps + training.arm_steps)
    lines = []
    for arm in [arm for arm in rows if arm in set(curves["row"])]:
        steps, probe = steps_to(curves, arm, level), forwards(rows[arm].strategy, probes, depth, domains)
        theirs = METHODS.get(rows[arm].strategy) if arm in ("lasp", "ag_repa") else None
        published = [paper.value("table6", theirs, c) if theirs else None for c in ("training_cost", "diagnostic_cost")]
        lines.append((rows[arm].label, arm, steps, steps / last, probe, probe / whole, *published))
    return pd.DataFrame(lines, columns=COLUMNS)


def layout(frame: pd.DataFrame) -> list[Grid]:
    """The table as text."""
    header = (
        "method", "steps to Base's last loss", "over Base's", "forwards of the probe", "over training's",
        "paper: training, over LASP's", "paper: probe, over training",
    )  # fmt: skip
    rows = tuple(
        (
            r.method,
            "not reached" if isnan(r.steps) else count(r.steps),
            number(r.training_cost, 2),
            count(r.probe_forwards),
            number(r.probe_cost, 4) if r.probe_forwards else EMPTY,
            printed(r.paper_training_cost),
            printed(r.paper_probe_cost),
        )
        for r in frame.itertuples()
    )
    return [Grid("Cost", header, rows, ("",) * len(header))]


def reading(frame: pd.DataFrame) -> str:
    """Which rows come to Base's last loss, and when."""
    arms = frame[frame["arm"] != BASE]
    if arms.empty:
        return "No arm beside Base was trained: there is nothing to compare."
    told = [f"{r.method}: {'never' if isnan(r.steps) else f'after {r.steps:.0f} steps'}" for r in arms.itertuples()]
    return f"Base's last validation loss is reached by {'; '.join(told)}. Losses are known at every validation alone."
