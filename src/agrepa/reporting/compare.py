"""What changed between two git revisions of a table of scores."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from agrepa.reporting.layout import Grid, Page, interval, markdown, number
from agrepa.reporting.revisions import numbers, scores_at

CRITERION = (
    'A change "exceeds" when the 95 % intervals of the two revisions do not overlap and is "within" when they do (touching '
    "counts as overlap). Intervals that do not overlap are a stricter demand than a paired test, so a change within them can "
    "still be real."
)
COLUMNS = ["row", "metric", "change", "old", "old_low", "old_high", "new", "new_low", "new_high", "difference"]


def compare(repository: Path, revision1: str, revision2: str, table: str) -> tuple[pd.DataFrame, str]:
    """Compare one ``scores.csv`` between two revisions.

    Args:
        repository: a folder inside the git repository.
        revision1: the older revision, as git names it (``HEAD~1``, a tag, a hash).
        revision2: the newer one.
        table: path of the CSV from the repository's root, e.g. ``results/demo/scores/scores.csv``.

    Returns:
        One line a (row, metric) of either revision, columns ``COLUMNS``, where change is exceeds, within, unchanged, added,
        removed or unknown (an interval is missing), and the same as Markdown.

    Raises ArtifactError for an unknown revision, a file that is absent there, or one that is no table of scores.
    """
    old, new = (numbers(scores_at(repository, revision, table)) for revision in (revision1, revision2))
    lines = []
    for row, metric in dict.fromkeys([*new.index, *old.index]):
        before, after = (_cell(frame, (row, metric)) for frame in (old, new))
        known = [part is not None for part in (before, after)]
        b, a = before or (float("nan"),) * 3, after or (float("nan"),) * 3
        verdict = change(b, a) if all(known) else "added" if known[1] else "removed"
        lines.append((row, metric, verdict, *b, *a, a[0] - b[0]))
    frame = pd.DataFrame(lines, columns=COLUMNS)
    return frame, _markdown(frame, revision1, revision2, table)


def change(old: tuple[float, float, float], new: tuple[float, float, float]) -> str:
    """unchanged, exceeds, within or unknown, from two (value, low, high)."""
    if old == new:
        return "unchanged"
    if any(pd.isna(part) for part in (*old, *new)):
        return "unknown"
    return "exceeds" if new[1] > old[2] or new[2] < old[1] else "within"


def _cell(frame: pd.DataFrame, key: tuple[str, str]) -> tuple[float, float, float] | None:
    if key not in frame.index:
        return None
    value, low, high = map(float, frame.loc[key])
    return value, low, high


def _markdown(frame: pd.DataFrame, revision1: str, revision2: str, table: str) -> str:
    counts = frame["change"].value_counts()
    order = ("exceeds", "within", "unchanged", "added", "removed", "unknown")
    reading = ", ".join(f"{counts[kind]} {kind}" for kind in order if kind in counts) or "both are empty"
    rows = tuple(
        (
            r.row, r.metric, interval(r.old, r.old_low, r.old_high), interval(r.new, r.new_low, r.new_high),
            number(r.difference), r.change,
        )
        for r in frame.itertuples() if r.change != "unchanged"
    )  # fmt: skip
    header = ("row", "metric", revision1, revision2, "difference", "change")
    grids = (Grid("What changed", header, rows, ("",) * len(header)),) if rows else ()
    title = f"{table}: {revision1} to {revision2}"
    return markdown(Page("compare", title, "", CRITERION, f"{reading}.", (), grids))
