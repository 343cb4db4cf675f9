"""Table 7: whether the layers that FoG-A puts first stay the same while the model trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from agrepa.domains import DOMAINS
from agrepa.reporting.layout import EMPTY, Grid, count, listed, number

if TYPE_CHECKING:
    from agrepa.reporting.paper import Paper

TITLE = "Table 7: whether FoG-A's first layers stay the same"
TOP = 3


COLUMNS = ["method", "step", *(f"{n}_{d}" for d in DOMAINS for n in ("layers", "rank_correlation", "jaccard"))]


def snapshots(trend: pd.DataFrame) -> pd.DataFrame:
    """One line a snapshot of the warm-up.

    Of each domain: the best three ``layers``, ``rank_correlation`` (Spearman's, over all layers, with the snapshot before) and
    ``jaccard`` (layers that the best three share with those of the last snapshot, over those in either).
    """
    trained = trend[trend["step"] > 0]
    lines = []
    best = {key: first(part) for key, part in trained.groupby(["step", "domain"])}
    last = trained["step"].max()
    for step in sorted(trained["step"].unique()):
        line: dict[str, object] = {"method": f"Warm-up, step {step}", "step": step}
        for domain in DOMAINS:
            if (layers := best.get((step, domain))) is None:
                continue
            final = best[last, domain]
            same = (trained["step"] == step) & (trained["domain"] == domain)
            line[f"layers_{domain}"] = " ".join(map(str, layers))
            line[f"rank_correlation_{domain}"] = trained.loc[same, "rank_correlation"].iloc[0]
            line[f"jaccard_{domain}"] = len({*layers} & {*final}) / len({*layers} | {*final})
        lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS)


def compute(trend: pd.DataFrame, paper: Paper) -> pd.DataFrame:
    """The lines of ``snapshots``, then the paper's."""
    lines = []
    for method in paper.methods("table7"):
        theirs = {f"layers_{d}": paper.text("table7", method, f"{d}_layers").replace(",", "") for d in DOMAINS}
        lines.append({"method": f"paper: {method}"} | theirs)
    return pd.DataFrame([*snapshots(trend).to_dict("records"), *lines], columns=COLUMNS)


def first(scores: pd.DataFrame) -> list[int]:
    """The best three layers of one snapshot, best first; of equal scores the lower layer."""
    ordered = scores.sort_values(["score", "layer"], ascending=[False, True])
    return [int(layer) for layer in ordered["layer"].iloc[:TOP]]


def layout(frame: pd.DataFrame) -> list[Grid]:
    """The table as text."""
    header = ["snapshot", "step"]
    shown = ("best three", "rank correlation with the one before", "overlap with the last")
    header += [f"{what}, {domain}" for domain in DOMAINS for what in shown]
    rows = []
    for _, line in frame.iterrows():
        texts = [line["method"], count(line["step"])]
        for domain in DOMAINS:
            texts.append(listed(line[f"layers_{domain}"]) if line[f"layers_{domain}"] else EMPTY)
            texts += [number(line[f"{name}_{domain}"], 2) for name in ("rank_correlation", "jaccard")]
        rows.append(tuple(texts))
    return [Grid("Along the warm-up", tuple(header), tuple(rows), ("",) * len(header))]


def reading(frame: pd.DataFrame) -> str:
    """From when on the best three have been those of the end."""
    told = []
    measured = frame[frame["step"].notna()]
    for domain in DOMAINS:
        same = measured[f"jaccard_{domain}"]
        if same.isna().all():
            continue
        since = measured["step"].iloc[-1]
        for step, overlap in zip(reversed(measured["step"].tolist()), reversed(same.tolist()), strict=True):
            if overlap < 1:
                break
            since = step
        told.append(f"{domain}: since step {since:.0f} of {measured['step'].iloc[-1]:.0f}")
    return f"The best three layers are those of the end of the warm-up, in any order: {'; '.join(told)}."
