"""Table 1: which layers store (LASP) and which contribute (FoG-A), best three of each, and what FoG-A is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from agrepa.domains import DOMAINS
from agrepa.errors import ArtifactError
from agrepa.reporting.collected import settling
from agrepa.reporting.layout import EMPTY, NOT_RUN, Grid, count, interval, number, printed
from agrepa.reporting.paper import DEPTH

if TYPE_CHECKING:
    from agrepa.reporting.paper import Paper
    from agrepa.reporting.probed import Probe

MEASURES = (
    ("Cos-SEM", "lasp", "speech"),
    ("Cos-EVT", "lasp", "audio"),
    ("FoG-A speech", "fog_a", "speech"),
    ("FoG-A audio", "fog_a", "audio"),
)
NAMES = {
    "fog_a": "FoG-A",
    "update_size": "size of the update",
    "mean_ablation": "mean-ablation",
    "depth": "depth",
}
TOP = 3
SETTLED = 0.95
NOT_RANKED = "not ranked: does not clear its floor"


def compute(probes: dict[str, dict[str, Probe]], depth: int, config: str, paper: Paper) -> pd.DataFrame:
    """One line a (measure, rank): the measured layer with its score beside the paper's of the same token configuration."""
    lines = []
    for measure, probe, domain in (known for known in MEASURES if known[2] in probes[known[1]]):
        found = probes[probe][domain]
        for rank, layer in enumerate(found.ranking[:TOP], 1):
            at = found.at(layer)
            theirs = paper.value("table1", f"{config} {measure}", f"layer_{rank}")
            lines.append(
                {
                    "measure": measure,
                    "probe": probe,
                    "domain": domain,
                    "rank": rank,
                    "layer": layer,
                    "relative_depth": layer / depth,
                    "score": found.score[at],
                    "low": found.low[at],
                    "high": found.high[at],
                    "n": found.clips,
                    "top_3_stability": found.stability[at],
                    "floor_constant": found.floors.get("constant"),
                    "floor_shuffled": found.floors["shuffled"][at] if found.floors else None,
                    "ranked": int(found.floors.get("ranked", True)),
                    "paper_config": config,
                    "paper_layer": None if theirs is None else int(theirs),
                    "paper_relative_depth": None if theirs is None else theirs / DEPTH,
                    "paper_score": paper.value("table1", f"{config} {measure}", f"score_{rank}"),
                }
            )
    return pd.DataFrame(lines)


def controls(fog_a: dict[str, Probe]) -> pd.DataFrame:
    """One line a (domain, pair): the rank correlation over layers of FoG-A with its controls, and of each with depth.

    Raises ArtifactError when the probe has no controls.
    """
    lines = []
    for domain, probe in fog_a.items():
        if not probe.controls:
            raise ArtifactError(f"fog_a.json lacks controls for {domain}: run the stage fog_a again")
        for found in probe.controls["correlations"]:
            first, second = found["between"]
            line = {"domain": domain, "first": first, "second": second, "rank_correlation": found["value"]}
            lines.append(line | {"low": found["low"], "high": found["high"], "layers": len(probe.layers), "n": probe.clips})
    return pd.DataFrame(lines)


def settled(trend: pd.DataFrame, threshold: float) -> str:
    """Of each domain whether the order of its layers had settled when the warm-up ended, in a sentence."""
    probed = set(trend["domain"])
    found = "; ".join(f"{domain}: {settling(trend, domain, threshold)}" for domain in DOMAINS if domain in probed)
    return (
        f"The order of the layers by FoG-A at the end of the warm-up, settled from a rank correlation of {threshold:g}: {found}."
    )


def layout(frame: pd.DataFrame, correlations: pd.DataFrame) -> list[Grid]:
    """The table as text, and below it what ``controls`` found."""
    header = (
        "measure", "rank", "layer", "layer / depth", "score", "floor: constant", "floor: shuffled", "n (clips)",
        "in the top 3 of samples",
        "paper: layer", "paper: layer / depth", "paper: score",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [
        (
            r.measure, count(r.rank) if r.ranked else NOT_RANKED, f"L{r.layer}", number(r.relative_depth, 2),
            interval(r.score, r.low, r.high), number(r.floor_constant), number(r.floor_shuffled), count(r.n),
            f"{100 * r.top_3_stability:.0f} %" if r.ranked else EMPTY,
            f"L{r.paper_layer:.0f}", number(r.paper_relative_depth, 2), printed(r.paper_score),
        )
        for r in frame.itertuples()
    ]  # fmt: skip
    run = set(frame.measure)
    rows += [(measure, NOT_RUN, *[EMPTY] * (len(header) - 2)) for measure, *_ in MEASURES if measure not in run]
    return [Grid("The three best layers by each measure", header, tuple(rows), ("",) * len(header)), _held_against(correlations)]


def _held_against(correlations: pd.DataFrame) -> Grid:
    pairs = list(dict.fromkeys(zip(correlations["first"], correlations["second"], strict=True)))
    header = ("domain", *(f"{NAMES[first]} with {NAMES[second]}" for first, second in pairs), "n (layers)", "n (clips)")
    rows = []
    for domain, mine in correlations.groupby("domain", sort=False):
        cells = [interval(r.rank_correlation, r.low, r.high, signed=True) for r in mine.itertuples()]
        rows.append((str(domain), *cells, count(mine.layers.iloc[0]), count(mine.n.iloc[0])))
    return Grid("Does FoG-A say more than the size of an update?", header, tuple(rows), ("",) * len(header))


def reading(frame: pd.DataFrame) -> str:
    """What the table shows, in one sentence."""
    common, withheld = [], []
    for domain, knows, uses in (("speech", "Cos-SEM", "FoG-A speech"), ("audio", "Cos-EVT", "FoG-A audio")):
        if domain not in set(frame.domain):
            continue
        if not frame.ranked[frame.measure == knows].all():
            withheld.append(knows)
            continue
        ours, theirs = (
            len(set(frame[frame.measure == knows][column]) & set(frame[frame.measure == uses][column]))
            for column in ("layer", "paper_layer")
        )
        common.append(f"{domain} {ours} (paper {theirs})")
    ranked = frame[frame.ranked.astype(bool)]
    settled = int((ranked.top_3_stability >= SETTLED).sum())
    floor = "does not clear the score of a constant vector and of shuffled clips, so its layers are not ranked"
    return (
        "".join(f"{measure} {floor}. " for measure in withheld)
        + (
            f"Of the three layers that store most and the three that contribute most, these are the same: {', '.join(common)}; "
            if common
            else ""
        )
        + f"{settled} of the {len(ranked)} ranked places belong to layers that stay among the top three in at least "
        f"{100 * SETTLED:.0f} % of the bootstrap samples."
    )
