"""The cluster bootstrap: against a loop, its coverage, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from agrepa.errors import ArtifactError
from agrepa.evaluation.statistics import cluster_bootstrap, paired_difference

ERRORS = np.array([1, 0, 3, 2, 5, 0, 1], dtype=float)
WORDS = np.array([4, 6, 5, 8, 5, 3, 9], dtype=float)
FAMILIES = ["jim", "jim", "ann", "ann", "ann", "bob", "bob"]


def loop(samples: int, seed: int) -> np.ndarray:
    """The bootstrap as one would write it on paper: draw family names, concatenate their clips, divide the sums."""
    names = sorted(set(FAMILIES))
    draws = np.random.default_rng(seed).integers(0, len(names), size=(samples, len(names)))
    ratios = []
    for draw in draws:
        clips = [i for pick in draw for i in range(len(FAMILIES)) if FAMILIES[i] == names[pick]]
        ratios.append(sum(ERRORS[i] for i in clips) / sum(WORDS[i] for i in clips))
    return np.array(ratios)


def test_equals_a_loop_over_resamples() -> None:
    interval = cluster_bootstrap(ERRORS, WORDS, FAMILIES, samples=300, seed=5)
    low, high = np.percentile(loop(300, 5), [2.5, 97.5])
    assert interval.value == ERRORS.sum() / WORDS.sum()
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-12)
    assert (interval.n, interval.clusters, interval.unit) == (7, 3, "family")


def test_the_order_of_rows_does_not_matter() -> None:
    order = [6, 2, 4, 0, 5, 1, 3]
    shuffled = cluster_bootstrap(ERRORS[order], WORDS[order], [FAMILIES[i] for i in order], 200, 1)
    assert shuffled == cluster_bootstrap(ERRORS, WORDS, FAMILIES, 200, 1)


def test_seed_decides_the_interval_and_not_the_value() -> None:
    one, two = (cluster_bootstrap(ERRORS, WORDS, list("abcdefg"), 200, seed) for seed in (1, 2))
    assert one.value == two.value
    assert (one.low, one.high) != (two.low, two.high)


def test_one_family_falls_back_to_clips_and_says_so() -> None:
    alone = cluster_bootstrap(ERRORS, WORDS, ["jim"] * 7, 200, 3)
    assert (alone.unit, alone.clusters) == ("clip", 7)
    # One family per clip is the same computation, under its proper name.
    each = cluster_bootstrap(ERRORS, WORDS, list("abcdefg"), 200, 3)
    assert each.unit == "family"
    assert (alone.low, alone.high) == (each.low, each.high)


def test_scaled_keeps_what_was_counted() -> None:
    percent = cluster_bootstrap(ERRORS, WORDS, FAMILIES, 50, 0).scaled(100)
    assert percent.value == pytest.approx(30.0)
    assert percent.entry()["n"] == 7


def test_covers_the_truth_about_95_times_in_100() -> None:
    """200 corpora of 30 speakers with a rate of their own; clips of a speaker share it."""
    rng, inside, trials = np.random.default_rng(0), 0, 200
    for trial in range(trials):
        rates = rng.beta(2, 8, size=30)
        words = rng.integers(3, 15, size=(30, 6))
        errors = rng.binomial(words, rates[:, None])
        interval = cluster_bootstrap(errors.ravel(), words.ravel(), np.repeat(np.arange(30), 6).astype(str), 400, trial)
        inside += interval.low <= 0.2 <= interval.high
    assert 0.89 <= inside / trials <= 0.98


def test_ignoring_the_clusters_would_claim_too_much() -> None:
    rng = np.random.default_rng(4)
    rates = rng.beta(2, 8, size=20)
    words = np.full((20, 20), 10)
    errors = rng.binomial(words, rates[:, None])
    speakers = np.repeat(np.arange(20), 20).astype(str)
    honest = cluster_bootstrap(errors.ravel(), words.ravel(), speakers, 500, 0)
    naive = cluster_bootstrap(errors.ravel(), words.ravel(), np.arange(400).astype(str), 500, 0)
    assert honest.high - honest.low > 1.5 * (naive.high - naive.low)


def test_difference_to_itself_is_exactly_zero() -> None:
    difference = paired_difference(ERRORS, WORDS, ERRORS, WORDS, FAMILIES, 100, 0)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_pairing_removes_what_both_arms_share() -> None:
    """Hard clips are hard for both arms: a constant improvement is certain although the rates vary a lot."""
    worse = ERRORS + 1
    difference = paired_difference(worse, WORDS, ERRORS, WORDS, FAMILIES, 300, 0)
    assert difference.value == pytest.approx(7 / WORDS.sum())
    assert difference.low > 0
    assert difference == paired_difference(worse, WORDS, ERRORS, WORDS, FAMILIES, 300, 0)
    swapped = paired_difference(ERRORS, WORDS, worse, WORDS, FAMILIES, 300, 0)
    assert (swapped.value, swapped.low) == (-difference.value, pytest.approx(-difference.high))


@pytest.mark.parametrize(
    ("numerators", "denominators", "clusters", "samples", "message"),
    [
        ([], [], [], 10, "no clips to score"),
        ([1.0], [1.0, 2.0], ["a"], 10, "differ in length"),
        ([1.0, 1.0], [1.0, 2.0], ["a"], 10, "differ in length"),
        ([1.0, 1.0], [1.0, -2.0], ["a", "b"], 10, "must not be negative, the smallest is -2.0"),
        ([1.0, 1.0], [1.0, 0.0], ["a", "b"], 10, "family 'b' sum to 0"),
        ([1.0, float("nan")], [1.0, 1.0], ["a", "b"], 10, "1 clips have a score that is not a finite number"),
        ([1.0], [1.0], ["a"], 0, "raise evaluation.bootstrap"),
    ],
)
def test_refuses(numerators: list, denominators: list, clusters: list, samples: int, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        cluster_bootstrap(numerators, denominators, clusters, samples, 0)
