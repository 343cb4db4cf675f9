"""Selection: from probe scores or a layer rule to the layers and weights that an arm supervises (Eq. 10-11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agrepa.alignment.ranking import equal, top_k, weighted, weights
from agrepa.artifacts.files import read_json, write_json
from agrepa.errors import ArtifactError
from agrepa.job import Ins, Out, Wildcard

if TYPE_CHECKING:
    from agrepa.params.arms import LayerRule
    from agrepa.params.stages import SelectSettings


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


def random_layers(count: int, k: int, seed: int, draw: int) -> list[int]:
    """The ``draw``-th of the different sets of k of the first ``count`` layers that the stream of ``seed`` gives, from 0."""
    rng = np.random.default_rng(seed)
    found: list[list[int]] = []
    while len(found) <= draw:  # loading has made sure that there are so many
        layers = sorted(int(i) + 1 for i in rng.permutation(count)[:k])
        if layers not in found:
            found.append(layers)
    return found[draw]


def shares_by_time(measured: dict[str, Any], layers: list[int]) -> dict[str, Any]:
    """lambda_k(t), the shares of Eq. 11 at each time of the probe: ``weights_by_time`` ``[times, K]``, each row of sum 1."""
    scores = np.asarray(measured["by_time"])[[measured["layers"].index(layer) for layer in layers]]
    return {"times": measured["times"], "weights_by_time": [weights(column) for column in scores.T.tolist()]}


def run(p: SelectSettings, *, arm: Wildcard, seed: Wildcard, probe: Ins, out: Out) -> None:
    """Write selection.json: per domain the layers (from 1), the weights, and the scores with intervals they came from.

    Layers are selected among those that the probe has scored, which it names as ``layers``. An arm whose target is a deeper layer
    of the model selects among all but the last, which has none. One that weighs its layers by the score at each t has ``times``
    and ``weights_by_time`` as well, and as ``weights`` their mean.

    Args:
        probe: the result of the probe that the arm's strategy names; none where it names none.

    Raises ArtifactError when the strategy needs a probe and there is not exactly one.
    """
    domains: dict[str, Any] = {}
    candidates = p.depth - p.looks_deeper
    for domain in p.domains:
        scores = low = high = None
        by_time: dict[str, Any] = {}
        if p.strategy == "none":
            layers = []
        elif p.layers is not None:
            layers = fixed_layers(p.layers, p.depth)
        elif p.strategy == "random" and p.k is not None:
            # One draw for both domains, as in the paper's random control; another one in each replication.
            layers = random_layers(candidates, p.k, int(seed), p.draw)
        else:
            if len(probe) != 1 or p.k is None:
                raise ArtifactError(f"arm {arm!r}: strategy {p.strategy!r} needs its k and the one result of its probe")
            probed = read_json(probe[0])["domains"][domain]
            measured = probed if p.ranked_by == "score" else probed["controls"][p.ranked_by]
            among = [layer for layer in probed["layers"] if layer <= candidates]
            layers = top_k(measured["score"][: len(among)], p.k, among)
            places = [among.index(layer) for layer in layers]
            scores, low, high = ([measured[name][place] for place in places] for name in ("score", "low", "high"))
            if p.weighting == "score_by_time":
                by_time = shares_by_time(measured, layers)
        if by_time:
            share = np.mean(by_time["weights_by_time"], axis=0).tolist()
        else:
            share = weighted(p.weighting, scores) if scores else equal(len(layers))
        domains[domain] = {"layers": layers, "weights": share, "scores": scores, "low": low, "high": high} | by_time
    how = {"strategy": p.strategy, "weighting": p.weighting, "depth": p.depth}
    write_json(out, {"arm": arm, "seed": int(seed)} | how | {"domains": domains})
