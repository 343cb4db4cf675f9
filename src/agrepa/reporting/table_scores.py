"""Table 2: every metric of every row, and its difference to Base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.domains import DOMAINS
from agrepa.errors import ArtifactError
from agrepa.evaluation.rows import BASE, CONTROLS
from agrepa.evaluation.statistics import holm
from agrepa.reporting.collected import labels, selected
from agrepa.reporting.layout import EMPTY, NOT_RUN, Grid, count, interval, listed, number, printed
from agrepa.reporting.metrics import GROUPS, UNDERSTOOD, UNSEEN, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agrepa.params.arms import Arm
    from agrepa.reporting.paper import Paper

UNINTELLIGIBLE = 80  # percent of words wrong
DIFFERENCE_COLUMNS = ["method", "arm", "metric", "difference", "low", "high", "n", "p", "p_holm", "verdict"]
NOT_JUDGED = "not judged"
CHANCE = 0.05


def shown(rows: Mapping[str, Arm], scores: pd.DataFrame) -> dict[str, str]:
    """Rows of Table 2 with their labels: anchors, the arms run but for those of Table 3, control."""
    found = labels(rows, list(scores["row"]))
    return {row: label for row, label in found.items() if row not in rows or belongs(rows[row])}


def belongs(arm: Arm) -> bool:
    """Whether Table 2 shows an arm: all but those that the paper has in Table 3 and not here, and those on another backbone."""
    return "table2" in arm.paper or ("table3" not in arm.paper and arm.backbone is None)


def compute(
    rows: Mapping[str, Arm], scores: pd.DataFrame, metrics: Sequence[Metric], selections: dict[str, Any], paper: Paper
) -> pd.DataFrame:
    """One line a method: value, ``_low``, ``_high``, ``_n``, ``_unit`` of each metric, the paper's value where it has one."""
    cells = scores.set_index(["row", "metric"])
    lines = []
    for row, label in shown(rows, scores).items():
        line: dict[str, Any] = {"method": label}
        method = rows[row].paper.get("table2") if row in rows else None
        for metric in metrics:
            line |= cell(cells, row, metric.name)
            if metric.paper:
                line[f"paper_{metric.paper}"] = None if method is None else paper.value("table2", method, metric.paper)
        for domain in DOMAINS:
            line[f"layers_{domain}"] = aligned(rows, selections, row, domain)[0]
        line["seeds"] = scores[scores["row"] == row]["seeds"].min()
        lines.append(line)
    return pd.DataFrame(lines)


def cell(cells: pd.DataFrame, row: str, metric: str) -> dict[str, float | str | None]:
    """The five columns of one metric; all empty where it was not measured."""
    names = {"value": metric, "low": f"{metric}_low", "high": f"{metric}_high", "n": f"{metric}_n", "unit": f"{metric}_unit"}
    known = (row, metric) in cells.index
    return {name: (cells.loc[(row, metric), column] if known else None) for column, name in names.items()}


def aligned(rows: Mapping[str, Arm], selections: dict[str, Any], row: str, domain: str) -> tuple[str, str]:
    """Layers and weights that an arm aligned, as text; both are empty for anchors, control and strategy none.

    Where replications differ each has its own, with " / " between.

    Raises ArtifactError when the selection of an arm that aligns is missing.
    """
    if row not in rows or rows[row].strategy == "none":
        return "", ""
    if row not in selections:
        raise ArtifactError(f"selections/seed*/{row}.json is missing beside the scores of {row!r}: run the stage select for it")
    found = selected(selections[row], domain)
    layers = dict.fromkeys(" ".join(map(str, layers)) for layers, _ in found)
    return " / ".join(layers), " / ".join(" ".join(f"{weight:.3f}" for weight in weights) for _, weights in found)


def provenance(rows: Mapping[str, Arm], scores: pd.DataFrame, metrics: Sequence[Metric]) -> pd.DataFrame:
    """Where each cell comes from: columns method, metric, card (the run card's path)."""
    order = {metric.name: position for position, metric in enumerate(metrics)}
    found = labels(rows, list(scores["row"]))
    frame = scores[scores["metric"].isin(list(order))]
    lines = [(found[r.row], r.metric, r.card) for r in frame.itertuples()]
    place = {label: position for position, label in enumerate(found.values())}
    return pd.DataFrame(sorted(lines, key=lambda line: (place[line[0]], order[line[1]])), columns=["method", "metric", "card"])


def differences(rows: Mapping[str, Arm], scores: pd.DataFrame, metrics: Sequence[Metric]) -> pd.DataFrame:
    """Paired differences to Base where there are any; ``arm`` is empty for a row that is none (anchors, the control).

    ``p_holm`` is adjusted over all comparisons of arms with Base, and apart from these over those of the control. ``verdict`` is
    better or worse where that is below 0.05, and NOT_JUDGED for word errors and opinions of speech that is not understood:
    then the comparison is not one of those that count.
    """
    order = {metric.name: position for position, metric in enumerate(metrics)}
    lines = []
    for row, label in labels(rows, list(scores["row"])).items():
        mine = scores[(scores["row"] == row) & scores["metric"].isin(list(order)) & scores["difference"].notna()]
        for r in sorted(mine.itertuples(), key=lambda item: order[item.metric]):
            arm = row if row in rows else ""
            verdict = NOT_JUDGED if unheard(scores, [BASE] if row in CONTROLS else [row, BASE], r.metric) else ""
            numbers = (r.difference, r.difference_low, r.difference_high, r.n, r.difference_p)
            lines.append((label, arm, r.metric, *numbers, float("nan"), verdict))
    frame = pd.DataFrame(lines, columns=DIFFERENCE_COLUMNS)
    better = {metric.name: -1 if metric.lower_is_better else 1 for metric in metrics}
    control = frame["method"].isin([row.label for row in CONTROLS.values()])
    for family in (frame["arm"] != "", control):
        chosen = frame.index[family & frame["p"].notna() & (frame["verdict"] == "")]
        frame.loc[chosen, "p_holm"] = holm(frame.loc[chosen, "p"].tolist())
        for place in chosen[frame.loc[chosen, "p_holm"] < CHANCE]:
            good = frame.loc[place, "difference"] * better[frame.loc[place, "metric"]] > 0
            frame.loc[place, "verdict"] = "better" if good else "worse"
    return frame


def unheard(scores: pd.DataFrame, rows: Sequence[str], metric: str) -> bool:
    """Whether a metric compares speech that of one of ``rows`` is not understood. Of the control that is expected."""
    if metric not in UNDERSTOOD:
        return False
    name = "speech_wer_unseen" if metric.endswith("_unseen") else "speech_wer"
    found = scores[scores["row"].isin(rows) & (scores["metric"] == name)]["value"]
    return bool((found > UNINTELLIGIBLE).any())


def layout(frame: pd.DataFrame, gaps: pd.DataFrame, metrics: Sequence[Metric]) -> list[Grid]:
    """The table as text: one grid a group of metrics, then the differences to Base."""
    grids, run = [], run_domains(frame, metrics)
    for group in GROUPS:
        mine = [metric for metric in metrics if metric.group == group]
        if group == UNSEEN and frame[[metric.name for metric in mine]].isna().all(axis=None):
            continue  # the experiment has no such list
        columns = [(title, metric.name if i == 0 else "") for metric in mine for i, title in enumerate(_titles(metric))]
        rows = tuple((line["method"], *_texts(line, mine, run)) for _, line in frame.iterrows())
        grids.append(Grid(group, ("method", *(c[0] for c in columns)), rows, ("", *(c[1] for c in columns))))
    layers = tuple(
        (line["method"], *(listed(line[f"layers_{d}"]) if d in run else NOT_RUN for d in DOMAINS), count(line["seeds"]))
        for _, line in frame.iterrows()
    )
    grids.append(Grid("Aligned layers and seeds", ("method", "layers, speech", "layers, audio", "seeds"), layers, ("",) * 4))
    if len(gaps):
        known = [metric for metric in metrics if metric.name in set(gaps["metric"])]
        table = gaps.set_index(["method", "metric"])
        rows = tuple(
            (method, *(_gap(table, method, metric.name) for metric in known)) for method in dict.fromkeys(gaps["method"])
        )
        titles = tuple(metric.full_title for metric in known)
        grids.append(Grid("Difference to Base", ("method", *titles), rows, ("", *(metric.name for metric in known))))
    return grids


def _titles(metric: Metric) -> list[str]:
    return [metric.title, "n", *([metric.paper_title] if metric.paper else [])]


def run_domains(frame: pd.DataFrame, metrics: Sequence[Metric]) -> set[str]:
    """The domains of which any row has a score; the experiment has no clips of another."""
    return {metric.domain for metric in metrics if frame[metric.name].notna().any()}


def _texts(line: pd.Series, metrics: list[Metric], run: set[str]) -> list[str]:
    texts = []
    for metric in metrics:
        value, low, high, n = (line[f"{metric.name}{end}"] for end in ("", "_low", "_high", "_n"))
        texts += [
            interval(value, low, high) if metric.domain in run else NOT_RUN,
            counted(n, line[f"{metric.name}_unit"], metric.domain),
        ]
        if metric.paper:
            texts.append(printed(line[f"paper_{metric.paper}"]))
    return texts


def counted(n: float, unit: str | float, domain: str) -> str:
    """The number of clips, and that their interval is about their own speakers or sources where it is."""
    return count(n) + (f", these {'speakers' if domain == 'speech' else 'sources'}" if unit == "clip" else "")


def _gap(table: pd.DataFrame, method: str, metric: str) -> str:
    if (method, metric) not in table.index:
        return EMPTY
    r = table.loc[(method, metric)]
    text = interval(r["difference"], r["low"], r["high"], signed=True)
    return f"{text} {r['verdict']}" if r["verdict"] in ("better", "worse") and r["arm"] else text


def reading(gaps: pd.DataFrame, metrics: Sequence[Metric]) -> str:
    """Which differences between an arm and Base hold after Holm's correction, and in which direction."""
    arms = gaps[(gaps["arm"] != "") & gaps["p_holm"].notna()]
    if arms.empty:
        return "There is no difference between an arm and Base that has an interval to read."
    sure = [f"{method}: {words}" for method, words in beyond(arms, metrics)]
    if not sure:
        return f"None of the {len(arms)} differences between an arm and Base holds after Holm's correction for their number."
    return f"Differences to Base that hold after Holm's correction, {len(sure)} of {len(arms)}: {'; '.join(sure)}."


def beyond(gaps: pd.DataFrame, metrics: Sequence[Metric]) -> list[tuple[str, str]]:
    """The differences that have a verdict: method, and the difference in words."""
    known = {metric.name: metric for metric in metrics}
    found = []
    for r in gaps[gaps["verdict"].isin(["better", "worse"])].itertuples():
        gap = interval(r.difference, r.low, r.high, signed=True)
        found.append((r.method, f"{known[r.metric].full_title} {gap}, {r.verdict}"))
    return found


def unintelligible(gaps: pd.DataFrame) -> str:
    """That word errors and opinions are not judged where the judge understands next to nothing; empty where it does."""
    rows = list(dict.fromkeys(gaps[gaps["verdict"] == NOT_JUDGED]["method"]))
    if not rows:
        return ""
    return f"WER, CER and MOS are not judged where a row's or Base's WER is above {UNINTELLIGIBLE} %: {', '.join(rows)}."


def detectable(gaps: pd.DataFrame, metrics: Sequence[Metric]) -> str:
    """Half the width of the paired interval of each metric, the median over arms: what a difference must exceed to be seen."""
    arms = gaps[(gaps["arm"] != "") & gaps["low"].notna() & gaps["metric"].isin([metric.name for metric in metrics])]
    if arms.empty:
        return ""
    half = ((arms["high"] - arms["low"]) / 2).groupby(arms["metric"]).median()
    n = arms.groupby("metric")["n"].min()
    listed_ = [f"{m.full_title} {number(half[m.name])} (n {n[m.name]:.0f})" for m in metrics if m.name in half.index]
    return f"Detectable here (half the width of the paired 95 % interval, median over arms): {', '.join(listed_)}."


def trainings(frame: pd.DataFrame) -> str:
    """What the intervals say about training again."""
    if frame["seeds"].max() > 1:
        return ""
    return "One training a row: the intervals say how values vary with the clips, not with the training."


def control_note(gaps: pd.DataFrame, metrics: Sequence[Metric]) -> str:
    """What the control says about the model listening to its tokens; empty without a control."""
    control = gaps[gaps["method"].isin([row.label for row in CONTROLS.values()])]
    if control.empty:
        return ""
    sure = [words for _, words in beyond(control, metrics)]
    if not sure:
        return "The control (a model given another clip's tokens) does not differ from Base after Holm's correction."
    return f"The control (a model given another clip's tokens) differs from Base after Holm's correction in: {'; '.join(sure)}."
