"""Intervals of corpus-level ratios: the bootstrap over clusters (speakers, source families), alone and paired.

A corpus-level score is a ratio of sums, e.g. word errors over words. Clips of one speaker are not independent of each
other, so whole clusters are drawn with replacement (Davison & Hinkley 1997, section 3.8), and numerator and denominator
travel together (Bisani & Ney 2004, on word error rates).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agrepa.errors import ArtifactError

Floats = NDArray[np.float64]
COVERAGE = (2.5, 97.5)  # percentiles of a 95 % interval
NORMAL_95 = 1.96  # half the width of a 95 % interval, in standard errors


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Attributes:
        n: how many rows went in.
        clusters: how many units were drawn with replacement.
        unit: what those units are; ``clip`` when all rows are of one family, so that families cannot be resampled.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int
    unit: Literal["family", "clip"]

    def scaled(self, factor: float) -> Interval:
        """The same in another unit, e.g. ``scaled(100)`` for percent."""
        return Interval(self.value * factor, self.low * factor, self.high * factor, self.n, self.clusters, self.unit)

    def entry(self) -> dict[str, float | int | str]:
        """What a metric's JSON holds."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "clusters": self.clusters,
            "unit": self.unit,
        }


def cluster_bootstrap(
    numerators: ArrayLike, denominators: ArrayLike, clusters: Sequence[str], samples: int, seed: int
) -> Interval:
    """``sum(numerators) / sum(denominators)`` with the percentile interval of the bootstrap over clusters.

    Args:
        numerators: ``[N]``, e.g. errors of each clip.
        denominators: ``[N]``, not negative, e.g. words of each clip; ones for a mean.
        clusters: ``[N]``, the family of each clip. When there is only one, clips are drawn instead and ``unit`` says so.
        samples: how many resamples.
        seed: of the resampling.

    Raises:
        ArtifactError: nothing to average, lengths differ, a denominator is negative, or a cluster's denominators sum to 0.
    """
    sums, drawn, unit = _resampled([numerators, denominators], [1], clusters, samples, seed)
    low, high = np.percentile(drawn[0] / drawn[1], COVERAGE)
    total = sums.sum(1)
    return Interval(float(total[0] / total[1]), float(low), float(high), len(clusters), sums.shape[1], unit)


def paired_difference(
    numerators: ArrayLike,
    denominators: ArrayLike,
    base_numerators: ArrayLike,
    base_denominators: ArrayLike,
    clusters: Sequence[str],
    samples: int,
    seed: int,
) -> Interval:
    """An arm's ratio minus the base arm's, with the interval from the same resampled clusters in both.

    Row i of all arguments is the same clip and seed. Arguments and errors are those of ``cluster_bootstrap``.
    """
    columns = [numerators, denominators, base_numerators, base_denominators]
    sums, drawn, unit = _resampled(columns, [1, 3], clusters, samples, seed)
    low, high = np.percentile(drawn[0] / drawn[1] - drawn[2] / drawn[3], COVERAGE)
    total = sums.sum(1)
    value = float(total[0] / total[1] - total[2] / total[3])
    return Interval(value, float(low), float(high), len(clusters), sums.shape[1], unit)


def margin(deviations: ArrayLike) -> float:
    """Half the width of the 95 % interval that belongs to these deviations."""
    return float(NORMAL_95 * np.sqrt(np.mean(np.square(deviations))))


def _resampled(
    columns: list[ArrayLike], denominators: list[int], clusters: Sequence[str], samples: int, seed: int
) -> tuple[Floats, Floats, Literal["family", "clip"]]:
    """Sums of each column per cluster ``[K, C]``, and over resampled clusters ``[K, samples]``."""
    lengths = {np.asarray(column).shape for column in columns} | {(len(clusters),)}
    if len(lengths) != 1:
        shapes = ", ".join(map(str, sorted(lengths)))
        raise ArtifactError(f"numerators, denominators and clusters differ in length: {shapes}; give one value per clip in each")
    if not len(clusters):
        raise ArtifactError("no clips to score: the table of utterances is empty, so check which clips the row was given")
    if samples < 1:
        raise ArtifactError(f"bootstrap samples must be at least 1, not {samples}: raise evaluation.bootstrap")
    table = np.stack([np.asarray(column, dtype=np.float64) for column in columns])
    if not np.isfinite(table).all():
        raise ArtifactError(f"{int((~np.isfinite(table)).any(0).sum())} clips have a score that is not a finite number")
    if (table[denominators] < 0).any():
        raise ArtifactError(f"denominators must not be negative, the smallest is {table[denominators].min()}")
    names, member = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    unit: Literal["family", "clip"] = "family"
    if len(names) == 1:
        names, member, unit = np.arange(table.shape[1]), np.arange(table.shape[1]), "clip"
    sums: Floats = np.stack([np.bincount(member, column, len(names)).astype(np.float64) for column in table])
    empty = (sums[denominators] == 0).any(0)
    if empty.any():
        raise ArtifactError(f"the denominators of {unit} {str(names[empty][0])!r} sum to 0: drop clips with nothing to count")
    draws = np.random.default_rng(seed).integers(0, len(names), size=(samples, len(names)))
    resampled: Floats = np.stack([column[draws].sum(-1) for column in sums]).astype(np.float64)
    return sums, resampled, unit
