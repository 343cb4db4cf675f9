"""Selection: from probe scores or a layer rule to the layers and weights that an arm supervises (Eq. 10-11)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agrepa.artifacts import read_json, write_json
from agrepa.domains import DOMAINS
from agrepa.errors import ArtifactError

if TYPE_CHECKING:
    from agrepa.params import Experiment, LayerRule


def fixed_layers(rule: LayerRule, depth: int) -> list[int]:
    """Layers of a rule in a model of ``depth`` n, from 1.

    Fractions f give round(f n), at least 1; ``shallow: s`` gives 1 … s; ``deep: s`` gives the s layers that end at n - 2.

    Raises ArtifactError when the model is too shallow for the rule.
    """
    if rule.fractions is not None:
        layers = sorted({min(max(int(np.floor(f * depth + 0.5)), 1), depth) for f in rule.fractions})
    elif rule.shallow is not None:
        layers = list(range(1, rule.shallow + 1))
    else:
        layers = list(range(depth - 2 - (rule.deep or 0) + 1, depth - 1))
    if layers[0] < 1 or layers[-1] > depth:
        raise ArtifactError(
            f"rule {rule.model_dump(exclude_none=True)} gives layers {layers} in a model of depth {depth}: raise model.depth"
        )
    return layers


def top_k(scores: list[float], k: int) -> list[int]:
    """The k layers (from 1) of highest score, best first; of equal scores the shallower layer wins."""
    if k > len(scores):
        raise ArtifactError(f"k = {k} layers were asked for and the model has {len(scores)}: lower the arm's k")
    return [int(i) + 1 for i in np.argsort(-np.asarray(scores), kind="stable")[:k]]


def weights(scores: list[float]) -> list[float]:
    """lambda_k = score_k / sum of the selected scores (Eq. 11); they sum to 1.

    Raises ArtifactError when a score is not positive: such scores cannot be weights.
    """
    if min(scores) <= 0:
        raise ArtifactError(f"scores {scores} cannot be weights because one is not positive: use weighting: equal")
    return [score / sum(scores) for score in scores]


def run(p: Experiment, arm: str, probe: Path | None, out: Path) -> None:
    """Write selection.json: per domain the layers (from 1), the weights, and the scores with intervals they came from."""
    row = p.rows[arm]
    domains: dict[str, Any] = {}
    measured = None if probe is None else read_json(probe)["domains"]
    for domain in DOMAINS:
        scores = low = high = None
        if row.strategy == "none":
            layers = []
        elif row.layers is not None:
            layers = fixed_layers(row.layers, p.model.depth)
        elif row.strategy == "random":
            # One draw for both domains, as in the paper's random control.
            order = np.random.default_rng(p.seed).permutation(p.model.depth)
            layers = sorted(int(i) + 1 for i in order[: row.k])
        else:
            if measured is None or row.k is None:
                raise ArtifactError(f"arm {arm!r}: strategy {row.strategy!r} needs its probe's result")
            layers = top_k(measured[domain]["score"], row.k)
            scores, low, high = ([measured[domain][name][layer - 1] for layer in layers] for name in ("score", "low", "high"))
        share = weights(scores) if row.weighting == "score" and scores else [1 / len(layers) for _ in layers]
        domains[domain] = {"layers": layers, "weights": share, "scores": scores, "low": low, "high": high}
    write_json(
        out, {"arm": arm, "strategy": row.strategy, "weighting": row.weighting, "depth": p.model.depth, "domains": domains}
    )
