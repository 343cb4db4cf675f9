"""Tables 4, 5 and 8 to 12: AG-REPA on other backbones, and one key apart from itself. Rows that were not run stand there too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from agrepa.domains import DOMAINS
from agrepa.reporting.layout import EMPTY, NOT_RUN, Grid, interval, printed
from agrepa.reporting.table_scores import cell
from agrepa.reporting.table_scores import reading as differences_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agrepa.params.arms import Arm
    from agrepa.reporting.metrics import Metric
    from agrepa.reporting.paper import Paper

TITLES = {
    "table4": "Table 4: AG-REPA on other backbones",
    "table5": "Table 5: AG-REPA and shallow layers on other backbones",
    "table8": "Table 8: layers frozen, or taken anew while the arm trains",
    "table9": "Table 9: weights that stay, or follow t",
    "table10": "Table 10: how many layers, and how they are weighted",
    "table11": "Table 11: heads",
    "table12": "Table 12: what the layers are compared with",
}
ON_BACKBONES = {
    "table4": {"base": "base", "ag_repa": "ag_repa"},
    "table5": {"base": "base", "shallow": "repa_shallow", "ag_repa": "ag_repa"},
}
"""Of the tables over backbones, the first word of the paper's columns and the arm that they belong to."""
OTHERS = ("speech_wer", "speech_mos_distill")
ENDS = ("", "_low", "_high")


class Row(NamedTuple):
    """One arm in a row of the paper's table.

    Attributes:
        arm: empty where arms.yaml has none for it.
        columns: what the paper's columns of it begin with.
    """

    method: str
    arm: str
    columns: str


def rows_of(
    name: str, arms: Mapping[str, Arm], backbone_of: Mapping[str, str], backbones: Mapping[str, str], paper: Paper
) -> Iterator[Row]:
    """What the paper's table has, in its order; ``backbone_of`` and ``backbones`` as in ``compute``."""
    by_name = {theirs: ours for ours, theirs in backbones.items()}
    for method in paper.methods(name):
        if name in ON_BACKBONES:
            kind = by_name.get(method)
            for begin, arm in ON_BACKBONES[name].items():
                there = (a for a, row in arms.items() if backbone_of[a] == kind and row.same_but_backbone(arms[arm]))
                yield Row(method, next(there, ""), f"{begin}_")
            continue
        linked = [arm for arm, row in arms.items() if row.paper.get(name) == method]
        for arm in linked or [""]:
            # Table 12 has a pair of columns for fixed layers and one for FoG-A's.
            begin = ("static_" if arms[arm].strategy == "fixed" else "ag_repa_") if name == "table12" and arm else ""
            yield Row(method, arm, begin)


def chosen(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that these tables show: words, opinion, Frechet distances and flow loss."""
    return [m for m in metrics if m.name in OTHERS or "_fad_" in m.name or m.name.endswith("_flow_loss")]


def compute(
    name: str,
    arms: Mapping[str, Arm],
    backbone_of: Mapping[str, str],
    backbones: Mapping[str, str],
    scores: pd.DataFrame,
    metrics: Sequence[Metric],
    paper: Paper,
) -> pd.DataFrame:
    """One line an arm of each row: values, their differences to Base (``_gap``), and the paper's values.

    ``run`` is 1 where this experiment has scores of the arm.

    Args:
        backbone_of: row of arms.yaml -> the kind of its model.
        backbones: kind of model -> the paper's backbone that it stands for.
    """
    cells, lines = scores.set_index(["row", "metric"]), []
    known = set(scores["row"])
    for row in rows_of(name, arms, backbone_of, backbones, paper):
        arm = row.arm
        label = arms[arm].label if arm in arms else ""
        line: dict[str, Any] = {"method": row.method, "arm": arm, "label": label, "run": int(arm in known)}
        for metric in chosen(metrics):
            line |= cell(cells, arm, metric.name)
            measured = (arm, metric.name) in cells.index
            for end in ENDS:
                line[f"{metric.name}_gap{end}"] = cells.loc[(arm, metric.name), f"difference{end}"] if measured else None
        for column, theirs in _paper_columns(name, row).items():
            line[column] = paper.value(name, row.method, theirs) if theirs in paper.table(name).columns else None
        lines.append(line)
    return pd.DataFrame(lines)


def _paper_columns(name: str, row: Row) -> dict[str, str]:
    """Columns of the table for the paper's values -> the paper's columns."""
    if name in ON_BACKBONES:  # speech alone
        return {"paper_speech_wer": f"{row.columns}wer", "paper_speech_fad": f"{row.columns}fad"}
    return {f"paper_{domain}_fad": f"{row.columns}{domain}_fad" for domain in DOMAINS}


def layout(frame: pd.DataFrame, metrics: Sequence[Metric]) -> list[Grid]:
    """The table as text: values beside the paper's, then differences to Base where there are any."""
    shown, theirs = chosen(metrics), [column for column in frame.columns if column.startswith("paper_")]
    titles = [f"paper: {column.removeprefix('paper_').replace('_', ' ')}" for column in theirs]
    header = ("method", "row", *(metric.full_title for metric in shown), *titles)
    rows, gaps = [], []
    for _, line in frame.iterrows():
        names = (line["method"], line["label"] or EMPTY)
        values = (interval(*(line[f"{m.name}{end}"] for end in ENDS)) if line["run"] else NOT_RUN for m in shown)
        rows.append((*names, *values, *(printed(line[c]) for c in theirs)))
        gap = [[line[f"{m.name}_gap{end}"] for end in ENDS] for m in shown]
        between = [interval(value, low, high, signed=True) for value, low, high in gap]
        if any(text != EMPTY for text in between):
            gaps.append((*names, *between))
    behind = ("", "", *(metric.name for metric in shown))
    grids = [Grid("Measured, beside the paper's", header, tuple(rows), (*behind, *("" for _ in theirs)))]
    if gaps:
        grids.append(Grid("Difference to Base", header[: len(behind)], tuple(gaps), behind))
    return grids


def reading(frame: pd.DataFrame, gaps: pd.DataFrame, metrics: Sequence[Metric]) -> str:
    """How much of the table was run, and what its differences to Base say."""
    ran = frame[frame["run"] == 1]
    if ran.empty:
        return "This experiment ran none of its rows."
    there = f"{len(ran)} of {len(frame)} rows were run here."
    mine = gaps[gaps["arm"].isin(set(ran["arm"]))]
    return f"{there} {differences_in_words(mine, metrics)}"


def missing(frame: pd.DataFrame) -> str:
    """How to run what was not run, or nothing."""
    absent = frame[frame["run"] == 0]
    arms = ", ".join(dict.fromkeys(arm for arm in absent["arm"] if arm))
    return f"Not run here; name them under arms in the params: {arms}. What a row takes: cost.md." if arms else ""
