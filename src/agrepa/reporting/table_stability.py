"""Table 7: whether the layers that FoG-A puts first stay the same while the model trains."""

from __future__ import annotations

from itertools import combinations
from statistics import mean
from typing import TYPE_CHECKING

import pandas as pd

from agrepa.domains import DOMAINS
from agrepa.reporting.layout import Grid, count, listed, number

if TYPE_CHECKING:
    from agrepa.reporting.paper import Paper

TITLE = "Table 7: whether FoG-A's first layers stay the same"
TOP = 3


COLUMNS = ["method", "seed", "step", *(f"{n}_{d}" for d in DOMAINS for n in ("layers", "rank_correlation", "jaccard"))]


def snapshots(trend: pd.DataFrame) -> pd.DataFrame:
    """One line a snapshot of each seed's warm-up.

    Of each domain: the best three ``layers``, ``rank_correlation`` (Spearman's, over all layers, with the snapshot before) and
    ``jaccard`` (layers that the best three share with those of the last snapshot, over those in either).
    """
    trained = trend[trend["step"] > 0]
    lines = []
    best = {key: first(part) for key, part in trained.groupby(["seed", "step", "domain"])}
    last, several = trained["step"].max(), trained["seed"].min() < trained["seed"].max()
    for seed, step in sorted({key[:2] for key in best}):
        said = f"Warm-up of seed {seed:.0f}" if several else "Warm-up"
        line: dict[str, object] = {"method": f"{said}, step {step:.0f}", "seed": seed, "step": step}
        for domain in DOMAINS:
            if (layers := best.get((seed, step, domain))) is None:
                continue
            same = (trained["seed"] == seed) & (trained["step"] == step) & (trained["domain"] == domain)
            line[f"layers_{domain}"] = " ".join(map(str, layers))
            line[f"rank_correlation_{domain}"] = trained.loc[same, "rank_correlation"].iloc[0]
            line[f"jaccard_{domain}"] = overlap(layers, best[seed, last, domain])
        lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS)


def overlap(one: list[int], other: list[int]) -> float:
    """Jaccard's: the layers in both over those in either."""
    return len({*one} & {*other}) / len({*one} | {*other})


def between(trend: pd.DataFrame) -> pd.DataFrame:
    """Whether another seed's warm-up ends with the same layers: the mean over all pairs of seeds; no line with one seed."""
    ends = trend[trend["step"] == trend["step"].max()]
    seeds = sorted(ends["seed"].unique())
    if len(seeds) < 2:
        return pd.DataFrame(columns=COLUMNS)
    line: dict[str, object] = {"method": f"Between the last of {len(seeds)} seeds"}
    for domain, mine in ends.groupby("domain"):
        scores = mine.pivot_table(index="layer", columns="seed", values="score")
        best = {seed: first(part) for seed, part in mine.groupby("seed")}
        pairs = list(combinations(seeds, 2))
        line[f"rank_correlation_{domain}"] = mean(scores[a].corr(scores[b], method="spearman") for a, b in pairs)
        line[f"jaccard_{domain}"] = mean(overlap(best[a], best[b]) for a, b in pairs)
    return pd.DataFrame([line], columns=COLUMNS)


def compute(trend: pd.DataFrame, paper: Paper) -> pd.DataFrame:
    """The lines of ``snapshots`` and ``between``, then the paper's."""
    lines = []
    for method in paper.methods("table7"):
        theirs = {f"layers_{d}": paper.text("table7", method, f"{d}_layers").replace(",", "") for d in DOMAINS}
        lines.append({"method": f"paper: {method}"} | theirs)
    measured = [*snapshots(trend).to_dict("records"), *between(trend).to_dict("records")]
    return pd.DataFrame([*measured, *lines], columns=COLUMNS)


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
            texts.append(listed(line[f"layers_{domain}"]))
            texts += [number(line[f"{name}_{domain}"], 2) for name in ("rank_correlation", "jaccard")]
        rows.append(tuple(texts))
    return [Grid("Along the warm-up", tuple(header), tuple(rows), ("",) * len(header))]


def reading(frame: pd.DataFrame) -> str:
    """From when on the best three have been those of the end."""
    told = []
    measured = frame[frame["step"].notna()]
    last = measured["step"].max()
    for domain in DOMAINS:
        same = measured.dropna(subset=f"jaccard_{domain}")
        if same.empty:
            continue
        # Of several seeds, the one whose layers were the last to be so.
        changed = same[same[f"jaccard_{domain}"] < 1]["step"].max()
        since = last if changed == last else same[~(same["step"] <= changed)]["step"].min()
        told.append(f"{domain}: since step {since:.0f} of {last:.0f}")
    seeds = " in every seed" if measured["seed"].min() < measured["seed"].max() else ""
    return f"The best three layers are those of the end of the warm-up{seeds}, in any order: {'; '.join(told)}."
