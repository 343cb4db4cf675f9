"""Stage ``claims``: what an experiment says of each claim of the paper, and of one beside it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.job import In, Out
from agrepa.reporting import evidence_layers
from agrepa.reporting.claims_page import CLAIMS, COLUMNS, NUMBERS, page, read_claims
from agrepa.reporting.collected import read_curves, read_pairs, read_probe, read_scores, read_trend
from agrepa.reporting.evidence import Evidence, corrected, of_claim, of_part
from agrepa.reporting.evidence_arms import Arms
from agrepa.reporting.layout import markdown
from agrepa.reporting.metrics import distances, metrics

if TYPE_CHECKING:
    from agrepa.params.stages import ClaimsSettings, FiguresSettings
    from agrepa.reporting.metrics import Metric

FIXED = ("repa_l4", "repa_l8", "repa_l12", "repa_l4_8_12")
TABLE3 = ("fog_a_equal", "gradient_norm", "lasp", "random")
"""The strategies in the order of the paper's Table 3, best first."""
PAIRS = {
    "selection": [("fog_a_equal", "lasp")],
    "fixed_layers": [*(("ag_repa", arm) for arm in FIXED), ("fog_a_equal", "repa_shallow")],
    "order": list(combinations(TABLE3, 2)),
    "beyond_update_size": [("fog_a_equal", "by_update_size")],
    "beyond_mean_ablation": [("fog_a_equal", "by_mean_ablation")],
}
"""Of each claim about arms, which is said to be better than which."""


def judged_by(p: FiguresSettings) -> list[Metric]:
    """The metrics by which arms are held against each other: WER, flow loss, FAD."""
    words = [metric for metric in metrics(p.embeddings, p.encoders) if metric.name == "speech_wer"]
    found = distances(p.embeddings, p.encoders)
    return words + [metric for metric in found if metric.embedding or metric.name.endswith("_flow_loss")]


def run(p: ClaimsSettings, *, scores: In, pairs: In, probes: In, trend: In, curves: In, out: Out, table: Out) -> None:
    """Judge each claim of the paper as supported, contradicted or undecided at the scale of this experiment.

    Args:
        scores: the experiment's ``scores.csv``; pairs: ``pairs.csv``, beside it.
        probes: folder of one JSON each; trend: CSV of FoG-A along the warm-up; curves: CSV of the losses of all trainings.
        out: Markdown; table: CSV, a line for each number that bears on a claim.

    Raises ArtifactError naming the file when something collected is missing or damaged.
    """
    arms = Arms(p.rows, read_scores(scores), read_pairs(pairs), judged_by(p))
    lasp, fog_a = (read_probe(probes, name) for name in ("lasp", "fog_a"))
    found: dict[str, list[Evidence]] = {
        "dissociation": evidence_layers.dissociation(lasp, fog_a),
        "deep_layers": arms.no_help("repa_deep"),
        "steps": arms.sooner("ag_repa", read_curves(curves), p.warmup_steps),
        "stability": evidence_layers.stability(read_trend(trend, fog_a), p.depth, p.settled),
        "beyond_update_size": evidence_layers.beyond(fog_a, "update_size", p.settled),
        "beyond_mean_ablation": evidence_layers.beyond(fog_a, "mean_ablation", p.settled),
    }
    for claim, held in PAIRS.items():
        found[claim] = [*found.get(claim, []), *(line for better, worse in held for line in arms.against(better, worse))]
    frame = pd.DataFrame(lines({claim: found[claim] for claim in CLAIMS}), columns=COLUMNS)
    frame.to_csv(table, index=False, float_format="%.6g", lineterminator="\n")
    out.write_text(markdown(page(p, read_claims(table))), encoding="utf-8")


def lines(found: dict[str, list[Evidence]]) -> Iterator[dict[str, Any]]:
    """One line of ``claims.csv`` a piece of evidence, with the verdict on its claim; Holm's correction is over them all."""
    decided = iter(corrected([line for evidence in found.values() for line in evidence]))
    by_claim = {claim: [next(decided) for _ in evidence] for claim, evidence in found.items()}
    for claim, evidence in by_claim.items():
        parts: dict[str, list[str]] = {}
        for line in evidence:
            parts.setdefault(line.part, []).append(line.says)
        verdict = of_claim(map(of_part, parts.values()))
        for line in evidence:
            numbers = {name: getattr(line, name) for name in NUMBERS}
            told = {"claim": claim, "verdict": verdict, "part": line.part, "measure": line.measure, **numbers}
            yield told | {"says": line.says, "missing": " ".join(line.missing)}
