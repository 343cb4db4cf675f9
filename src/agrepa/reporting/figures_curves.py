"""Figures of training and evaluation: loss curves, and the metrics of every row."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from agrepa.domains import DOMAINS
from agrepa.errors import ArtifactError
from agrepa.reporting.collected import read_csv
from agrepa.reporting.metrics import Metric
from agrepa.reporting.style import DOMAIN_NAMES, GREY, arm_styles, drawing

WARMUP = "warmup"
COLUMNS = 4
PANELS_A_LINE = 3
ARM_COLOUR = "#0072b2"
PANELS = (
    ("train_flow", "training (running mean of 10 records)", 10, True),
    ("validation_flow", "validation", 1, True),
    ("validation_flow_speech", f"validation of the arms, {DOMAIN_NAMES['speech']}", 1, False),
    ("validation_flow_audio", f"validation of the arms, {DOMAIN_NAMES['audio']}", 1, False),
)


def loss_curves(source: Path, names: dict[str, str], domains: list[str], note: str, path: Path) -> None:
    """Flow-matching loss of the warm-up and, from its end, of every arm (mean over seeds).

    Args:
        source: CSV of row, seed, step, series and value.
        names: the arms with their labels.
        domains: those that the experiment has.

    Raises ArtifactError when it is missing or lacks a series, the warm-up or every arm.
    """
    table = read_csv(source, ["row", "seed", "step", "series", "value"], ["step", "value"])
    present = [name for name in names if name in set(table["row"])]
    for what, found in ((f"row {WARMUP}", WARMUP in set(table["row"])), ("row of an arm", present)):
        if not found:
            raise ArtifactError(f"{source} has no {what}: run the stage that collects it")
    start = table[table["row"] == WARMUP]["step"].max()
    looks = arm_styles(present)
    with drawing(path, "Flow-matching loss of the warm-up and of every arm", note, (9, 6.8)) as figure:
        lines = math.ceil((len(present) + 1) / COLUMNS)
        axes = figure.subplot_mosaic("01;23;LL", height_ratios=(10, 10, lines))
        for axis, (series, title, smooth, with_warmup) in zip((axes[key] for key in "0123"), PANELS, strict=True):
            chosen = table[table["series"] == series]
            if series.removeprefix("validation_flow_") in set(DOMAINS) - set(domains):
                axis.set_axis_off()
                continue
            if chosen.empty:
                raise ArtifactError(f"{source} has no series {series}: run the stages warmup and train again")
            if with_warmup:
                curve = mean_curve(chosen[chosen["row"] == WARMUP], smooth)
                axis.plot(curve.index, curve, color=GREY, linewidth=1.5, label="warm-up")
                axis.axvline(start, color=GREY, linewidth=0.6, linestyle=":")
            for name in present:
                curve = mean_curve(chosen[chosen["row"] == name], smooth)
                marks = {"markersize": 3.5} if smooth == 1 else {"marker": ""}
                axis.plot(curve.index, curve, linewidth=1.2, label=names[name], **(looks[name] | marks))
            axis.set_title(title)
            axis.set_xlabel("optimizer step")
            axis.set_ylabel("flow-matching loss")
            axis.grid(linewidth=0.3)
        # In axes of its own: a legend of the figure would lie on the note.
        axes["L"].set_axis_off()
        axes["L"].legend(*axes["0"].get_legend_handles_labels(), loc="center left", ncols=COLUMNS)


def mean_curve(chosen: pd.DataFrame, smooth: int) -> pd.Series:
    """Value by step: mean over seeds, then over the last ``smooth`` records."""
    by_step = chosen.groupby("step")["value"].mean().sort_index()
    return by_step.rolling(smooth, min_periods=1).mean()


def score_dots(
    scores: pd.DataFrame, metrics: tuple[Metric, ...], names: dict[str, str], arms: list[str], note: str, path: Path
) -> None:
    """Every metric as a panel: one dot and interval a row, in the order of the tables.

    Args:
        names: all rows with their labels.
        arms: which of them are arms; the others (anchors, control) are drawn in grey.
    """
    _dots(scores, metrics, ("value", "low", "high"), names, arms, "Every metric with its 95 % interval", note, path)


def difference_dots(
    scores: pd.DataFrame, metrics: tuple[Metric, ...], names: dict[str, str], arms: list[str], note: str, path: Path
) -> None:
    """As ``score_dots``, but the paired difference to Base of every row that has one, with a line at zero."""
    columns = ("difference", "difference_low", "difference_high")
    known = scores[scores["difference"].notna()]
    shown = {row: label for row, label in names.items() if row in set(known["row"])}
    _dots(known, metrics, columns, shown, arms, "Paired difference to Base with its 95 % interval", note, path)


def _dots(
    scores: pd.DataFrame,
    metrics: tuple[Metric, ...],
    columns: tuple[str, str, str],
    names: dict[str, str],
    arms: list[str],
    title: str,
    note: str,
    path: Path,
) -> None:
    order, lines = list(names), math.ceil(len(metrics) / PANELS_A_LINE)
    with drawing(path, title, note, (10, 1.2 + lines * (0.85 + 0.2 * len(order)))) as figure:
        axes = figure.subplots(lines, PANELS_A_LINE, squeeze=False)
        for spare in axes.flat[len(metrics) :]:
            spare.set_axis_off()
        for axis, metric in zip(axes.flat, metrics, strict=False):
            mine = scores[scores["metric"] == metric.name].set_index("row")
            for place, row in enumerate(order):
                if row in mine.index:
                    value, low, high = (mine.loc[row, column] for column in columns)
                    colour = ARM_COLOUR if row in arms else GREY
                    axis.plot([low, high], [place, place], color=colour, linewidth=1.5, marker="|", markersize=6)
                    axis.plot([value], [place], marker="o" if row in arms else "D", color=colour, markersize=4)
            if columns[0] == "difference":
                axis.axvline(0, color="black", linewidth=0.7)
            axis.set_ylim(len(order) - 0.4, -0.6)
            axis.set_yticks(range(len(order)), [names[row] for row in order] if axis in axes[:, 0] else [])
            axis.set_title(metric.full_title)
            axis.set_xlabel("lower is better" if metric.lower_is_better else "higher is better", fontsize=7, color=GREY)
            axis.grid(axis="x", linewidth=0.3)
            if mine.empty:
                axis.set_xticks([])
                axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", color=GREY)
