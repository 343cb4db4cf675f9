"""From scores of layers to the layers that are supervised and their weights (Eq. 10-11)."""

from __future__ import annotations

import numpy as np

from agrepa.errors import ArtifactError


def top_k(scores: list[float], k: int) -> list[int]:
    """The k layers (from 1) of highest score, best first; of equal scores the shallower layer wins.

    Raises ArtifactError when there are fewer than k.
    """
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


def equal(count: int) -> list[float]:
    """The same weight for each of ``count`` layers."""
    return [1 / count for _ in range(count)]
