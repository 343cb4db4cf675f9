"""Intervals from left-out clusters, of trainings and of differences: by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from agrepa.errors import ArtifactError
from agrepa.evaluation.statistics import Design, Estimate, holm, ratio

ERRORS = np.array([1, 0, 3, 2, 5, 0, 1], dtype=float)
WORDS = np.array([4, 6, 5, 8, 5, 3, 9], dtype=float)
FAMILIES = ["jim", "jim", "ann", "ann", "ann", "bob", "bob"]


def speakers(count: int, each: int) -> list[str]:
    return np.repeat(np.arange(count), each).astype(str).tolist()


def test_equals_a_t_interval_of_the_clusters_means() -> None:
    values = np.random.default_rng(0).normal(size=(12, 3))
    found = ratio(values.ravel(), np.ones(36), speakers(12, 3)).interval()
    low, high = stats.t.interval(0.95, 11, loc=values.mean(), scale=stats.sem(values.mean(1)))
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert found.p == pytest.approx(stats.ttest_1samp(values.mean(1), 0).pvalue)
    assert (found.n, found.clusters, found.unit) == (36, 12, "family")


def test_unlike_clusters_are_left_out_in_turn() -> None:
    rng = np.random.default_rng(5)
    names = np.repeat(np.arange(11), rng.integers(1, 6, 11)).astype(str)
    words = rng.integers(2, 12, len(names))
    errors = rng.binomial(words, 0.3)
    found = ratio(errors, words, names.tolist()).interval()
    without = np.array([errors[names != name].sum() / words[names != name].sum() for name in np.unique(names)])
    error = np.sqrt(10 / 11 * np.square(without - without.mean()).sum())
    value = errors.sum() / words.sum()
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 10, loc=value, scale=error))
    assert found.p == pytest.approx(2 * stats.t.sf(value / error, 10))


def test_few_clusters_leave_clips_out_within_them() -> None:
    estimate = ratio(ERRORS, np.ones(7), FAMILIES)
    parts = [ERRORS[[name == family for family in FAMILIES]] for name in ("jim", "ann", "bob")]
    # Stratified sampling (Cochran 1977, Eq. 5.6), with shares as found.
    assert (estimate.unit, estimate.clusters, estimate.freedom) == ("clip", 7, 4)
    within = sum(len(part) * part.var(ddof=1) for part in parts) / 7**2
    assert np.square(estimate.deviations).sum() == pytest.approx(within)


def test_families_of_one_clip_are_compared_with_each_other() -> None:
    assert Design.of(["a", "b", "c", "c"]).stratum.tolist() == [3, 3, 2, 2]
    assert Design.of(["a", "b", "b", "c", "c", "c"]).stratum.tolist() == [3, 3, 3, 2, 2, 2]
    assert ratio([1.0], [2.0], ["a"]).interval().low is None


def test_the_order_of_rows_does_not_matter() -> None:
    order = [6, 2, 4, 0, 5, 1, 3]
    one, two = ratio(ERRORS, WORDS, FAMILIES), ratio(ERRORS[order], WORDS[order], [FAMILIES[i] for i in order])
    assert (one.interval().low, one.interval().p) == pytest.approx((two.interval().low, two.interval().p))


def test_the_logarithm_keeps_a_rate_above_zero() -> None:
    plain, positive = (ratio([0, 0, 1, 0, 6, 0, 0], WORDS, FAMILIES).scaled(100).interval(positive) for positive in (False, True))
    assert plain.low < 0 < positive.low < positive.value < positive.high


def test_difference_to_itself_is_exactly_zero() -> None:
    mine = ratio(ERRORS, WORDS, FAMILIES)
    gap = (mine - mine).interval()
    assert (gap.value, gap.low, gap.high, gap.p) == (0, 0, 0, 1)


def test_pairing_removes_what_both_arms_share() -> None:
    gap = (ratio(ERRORS + 1, np.full(7, 5.0), FAMILIES) - ratio(ERRORS, np.full(7, 5.0), FAMILIES)).interval()
    assert gap.value == pytest.approx(1 / 5)
    assert gap.low == pytest.approx(1 / 5) and gap.p < 1e-6


def test_a_row_that_is_not_trained_is_compared_with_every_seed() -> None:
    base = ratio(np.stack([ERRORS, ERRORS + 1]), np.ones((2, 7)), FAMILIES)
    gap = ratio(ERRORS, np.ones(7), FAMILIES) - base
    assert gap.values.tolist() == pytest.approx([0, -1])


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 * 0.005, 3 * 0.01, 2 * 0.03, and never below the one before
        ([0.01, 0.04, 0.03, 0.5], [0.04, 0.09, 0.09, 0.5]),
        ([0.02, 0.02, 0.9], [0.06, 0.06, 0.9]),
        ([0.6, 0.7], [1, 1]),
        ([0.04], [0.04]),
        ([], []),
    ],
)
def test_holm_by_hand(p: list[float], adjusted: list[float]) -> None:
    assert holm(p) == pytest.approx(adjusted)


@pytest.mark.parametrize(
    ("numerators", "denominators", "families", "message"),
    [
        ([], [], [], "no clips to score"),
        ([1.0], [1.0, 2.0], ["a"], "differ in length"),
        ([1.0, 1.0], [1.0, 2.0], ["a"], "differ in length"),
        ([1.0, 1.0], [1.0, -2.0], ["a", "b"], "must not be negative, the smallest is -2.0"),
        ([1.0, 1.0], [0.0, 0.0], ["a", "b"], "the denominators sum to 0"),
        ([1.0, float("nan")], [1.0, 1.0], ["a", "b"], "1 clips have a score that is not a finite number"),
    ],
)
def test_refuses(numerators: list, denominators: list, families: list, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        ratio(numerators, denominators, families)


def test_an_estimate_without_freedom_has_no_interval() -> None:
    assert Estimate(np.ones(1), np.zeros((1, 1)), 3, 3, "clip", 0).interval().p is None
