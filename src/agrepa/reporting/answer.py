"""The answer that an experiment gives to the question, in sentences: the first thing on its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from agrepa.reporting.layout import interval
from agrepa.reporting.table_scores import NOT_JUDGED

if TYPE_CHECKING:
    from collections.abc import Sequence

METRIC = "speech_wer"  # what a listener notices first
VERDICTS = {
    "better": "better",
    "worse": "worse",
    "": "no difference is seen",
    NOT_JUDGED: "not judged, since it is not understood",
}
LEVELS = ("ground_truth", "copy_synthesis", "base", "control")


def sentences(rows: dict[str, str], scores: pd.DataFrame, gaps: pd.DataFrame) -> list[str]:
    """One sentence on how well speech is understood, then one an aligned arm: its difference to Base and what it amounts to.

    Args:
        rows: row -> label, of those that the tables show.
        scores: of ``scores.csv``.
        gaps: of ``table_scores.differences``.
    """
    wer = scores[scores["metric"] == METRIC].set_index("row")
    levels = [f"{rows[row]} {_percent(wer.loc[row])}" for row in LEVELS if row in wer.index and row in rows]
    found = [f"Word error rate of speech: {'; '.join(levels)}."] if levels else []
    mine = gaps[(gaps["metric"] == METRIC) & (gaps["arm"] != "")]
    for gap in mine.itertuples():
        change = interval(gap.difference, gap.low, gap.high, signed=True)
        found.append(f"{gap.method}, against Base: {change} points of WER, {VERDICTS[gap.verdict]}.")
    if found and _one_training(wer):
        found.append("One training a row: the intervals say how values vary with the clips, not with the training.")
    return found


def _percent(score: pd.Series) -> str:
    return f"{interval(score['value'], score['low'], score['high'])} %"


def _one_training(wer: pd.DataFrame) -> bool:
    return bool((wer["seeds"] == 1).all())


def heard(clips: Sequence[dict[str, object]]) -> dict[str, object] | None:
    """The first clip of speech, to be played beside the answer; None where there is none."""
    return next((clip for clip in clips if clip["domain"] == "speech"), None)
