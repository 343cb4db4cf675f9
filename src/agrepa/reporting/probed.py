"""A probe as tables and figures see it: one domain, over all replications of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from agrepa.errors import ArtifactError
from agrepa.evaluation.statistics import LEVEL


@dataclass(frozen=True)
class Probe:
    """One probe on one domain. Layers are counted from 1 and ``L`` of them were probed.

    Attributes:
        layers: ``[L]``; times: ``[T]`` points on the flow; score, low, high: ``[L]``; by_time: ``[L, T]``;
        ranking: the layers, best first; stability: ``[L]`` share of bootstrap samples with the layer among the top 3.
        seeds: how many warm-ups were probed; over several, all is their mean, and intervals are over warm-ups.
        floors: of LASP, what a layer that knows nothing would score, and whether the ranking clears that.
        controls: of FoG-A, what it is held against, and the rank correlations with it.
    """

    layers: list[int]
    times: list[float]
    score: np.ndarray
    low: np.ndarray
    high: np.ndarray
    by_time: np.ndarray
    clips: int
    ranking: list[int]
    stability: np.ndarray
    seeds: int = 1
    floors: dict[str, Any] = field(default_factory=dict)
    controls: dict[str, Any] = field(default_factory=dict)

    def at(self, layer: int) -> int:
        """Position of a layer in the arrays."""
        return self.layers.index(layer)


def pooled(probes: Sequence[Probe]) -> Probe:
    """One probe of several warm-ups: their mean, with the 95 % interval of Student's t over warm-ups.

    Layers are ranked by the mean score. LASP's ranking stands where it does in every warm-up. A rank correlation with a control
    is the mean of the warm-ups'; it has no interval where one of them is not defined.

    Raises ArtifactError when the probes differ in layers or times.
    """
    first = probes[0]
    if len(probes) == 1:
        return first
    if any(one.layers != first.layers or one.times != first.times for one in probes):
        raise ArtifactError("the replications of a probe differ in their layers or times: run its stage again")
    score, low, high = over_warmups([one.score for one in probes])
    return Probe(
        first.layers,
        first.times,
        score=score,
        low=low,
        high=high,
        by_time=np.mean([one.by_time for one in probes], 0),
        clips=min(one.clips for one in probes),
        ranking=[first.layers[i] for i in np.argsort(-score, kind="stable")],
        stability=np.mean([one.stability for one in probes], 0),
        seeds=len(probes),
        floors=_floors([one.floors for one in probes]) if first.floors else {},
        controls=_controls([one.controls for one in probes]) if first.controls else {},
    )


def over_warmups(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the first axis, and the ends of its 95 % interval by Student's t."""
    table = np.asarray(values, float)
    mean, half = table.mean(0), stats.t.isf((1 - LEVEL) / 2, len(table) - 1) * table.std(0, ddof=1) / np.sqrt(len(table))
    return mean, mean - half, mean + half


def _floors(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    merge: dict[str, Callable[[list[Any]], Any]] = {
        "constant": lambda values: float(np.mean(values)),
        "shuffled": lambda values: np.mean(values, 0).tolist(),
        "clears": lambda values: np.all(values, 0).tolist(),
        "ranked": all,
    }
    return {name: of([floors[name] for floors in found]) for name, of in merge.items()}


def _controls(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    lines = []
    for same in zip(*(controls["correlations"] for controls in found), strict=True):
        line: dict[str, Any] = {"between": same[0]["between"], "value": None, "low": None, "high": None}
        if all(one["value"] is not None for one in same):
            ends = zip(("value", "low", "high"), over_warmups([one["value"] for one in same]), strict=True)
            line |= {name: float(end) for name, end in ends}
        lines.append(line)
    return {"correlations": lines}
