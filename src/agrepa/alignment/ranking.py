"""From scores of layers to the layers that are supervised and their weights (Eq. 10-11)."""

from __future__ import annotations

import numpy as np

from agrepa.errors import ArtifactError


def top_k(scores: list[float], k: int, layers: list[int] | None = None) -> list[int]:
    """The k layers (from 1) of highest score, best first; of equal scores the shallower layer wins.

    Args:
        layers: which ones the scores are of, rising; from the first on where it is absent.

    Raises ArtifactError when there are fewer than k.
    """
    if k > len(scores):
        raise ArtifactError(f"k = {k} layers were asked for and the model has {len(scores)}: lower the arm's k")
    layers = list(range(1, len(scores) + 1)) if layers is None else layers
    return [layers[i] for i in np.argsort(-np.asarray(scores), kind="stable")[:k]]


def weights(scores: list[float]) -> list[float]:
    """lambda_k = score_k / sum of the selected scores (Eq. 11); they sum to 1.

    Raises ArtifactError as ``positive`` does.
    """
    return [score / sum(scores) for score in positive(scores)]


def twice(scores: list[float]) -> list[float]:
    """lambda_k = 2 score_k, the weights of the paper's released code, whose sum is what the scores make it.

    Raises ArtifactError as ``positive`` does.
    """
    return [2 * score for score in positive(scores)]


def positive(scores: list[float]) -> list[float]:
    """The same scores; ArtifactError when one of them is not positive, since such scores cannot be weights."""
    if min(scores) <= 0:
        raise ArtifactError(f"scores {scores} cannot be weights because one is not positive: use weighting: equal")
    return scores


def equal(count: int) -> list[float]:
    """The same weight for each of ``count`` layers."""
    return [1 / count for _ in range(count)]


def weighted(weighting: str, scores: list[float]) -> list[float]:
    """The weights of the selected layers by an arm's ``weighting``: "equal", "score" or "twice_score"."""
    if weighting == "equal":
        return equal(len(scores))
    return twice(scores) if weighting == "twice_score" else weights(scores)
