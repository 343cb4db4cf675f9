"""KAD: against a naive double loop, and without bias."""

from __future__ import annotations

import numpy as np
import pytest

from agrepa.errors import ArtifactError
from agrepa.evaluation import kernel_distance as module
from agrepa.evaluation.kernel_distance import Reference, kernel_distance

DIMS = 5


def clips_of(rng: np.random.Generator, count: int, shift: float = 0.0) -> list[np.ndarray]:
    """Clips of 2 to 5 frames that resemble each other within a clip."""
    made = []
    for _ in range(count):
        own = rng.normal(size=DIMS)
        made.append(own + 0.5 * rng.normal(size=(rng.integers(2, 6), DIMS)) + shift)
    return made


def names(count: int) -> list[str]:
    return [f"family_{i}" for i in range(count)]


def naive(clips: list[np.ndarray], real: list[np.ndarray], bandwidth: float) -> float:
    def mean(one: list[np.ndarray], two: list[np.ndarray], of_different_clips: bool) -> float:
        total, count = 0.0, 0
        for i, first in enumerate(one):
            for j, second in enumerate(two):
                if i == j and of_different_clips:
                    continue
                for x in first:
                    for y in second:
                        total += np.exp(-np.square(x - y).sum() / (2 * bandwidth**2))
                        count += 1
        return total / count

    return 100 * (mean(clips, clips, True) + mean(real, real, True) - 2 * mean(clips, real, False))


def median_distance(clips: list[np.ndarray]) -> float:
    frames = np.concatenate(clips)
    pairs = [np.linalg.norm(frames[i] - frames[j]) for i in range(len(frames)) for j in range(i)]
    return float(np.median(pairs))


@pytest.mark.parametrize("rows", [3, 512])
def test_equals_a_double_loop_over_frames_of_different_clips(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of the kernel is held at once."""
    monkeypatch.setattr(module, "ROWS", rows)
    rng = np.random.default_rng(0)
    clips, real = clips_of(rng, 6, 0.4), clips_of(rng, 8)
    reference = Reference(real)
    assert reference.bandwidth == pytest.approx(median_distance(real))
    found = kernel_distance(clips, names(6), reference)
    assert found.values == pytest.approx([naive(clips, real, reference.bandwidth)])
    assert (found.n, found.clusters, found.unit) == (6, 6, "clip")


def test_the_deviations_are_those_of_left_out_families() -> None:
    rng = np.random.default_rng(1)
    clips, real = clips_of(rng, 24, 0.4), clips_of(rng, 6)
    families = [f"family_{i % 12}" for i in range(24)]
    reference = Reference(real)
    found = kernel_distance(clips, families, reference)
    kept = [[clip for clip, family in zip(clips, families, strict=True) if family != f"family_{k}"] for k in range(12)]
    without = np.array([naive(part, real, reference.bandwidth) for part in kept])
    variance = 11 / 12 * np.square(without - without.mean()).sum()
    assert np.square(found.deviations).sum() == pytest.approx(variance)
    assert (found.unit, found.clusters, found.freedom) == ("family", 12, 11)


def test_two_halves_of_one_sample_differ_by_nothing_on_average_and_as_often_either_way() -> None:
    """Where a biased estimate would always be above zero; a shifted half is far from both."""
    rng = np.random.default_rng(2)
    values, biased = [], []
    for _ in range(60):
        halves = clips_of(rng, 12), clips_of(rng, 12)
        reference = Reference(halves[0])
        values.append(kernel_distance(halves[1], names(12), reference).values[0])
        frames = [np.concatenate(half) for half in halves]
        inner = sum(reference.kernel(part, part).mean() for part in frames)
        biased.append(100 * (inner - 2 * reference.kernel(*frames).mean()))
    error = np.std(values) / np.sqrt(60)
    assert abs(np.mean(values)) < 3 * error and min(biased) > 0 and np.mean(biased) > 10 * error
    assert 15 <= sum(value > 0 for value in values) <= 45
    shifted = kernel_distance(clips_of(rng, 12, 1.5), names(12), Reference(clips_of(rng, 12)))
    assert shifted.values[0] > 5 * np.std(values)


def test_too_few_clips_and_one_point_are_refused() -> None:
    rng = np.random.default_rng(4)
    with pytest.raises(ArtifactError, match=r"at least 2 real clips: raise evaluation\.frechet.reference_clips"):
        Reference(clips_of(rng, 1))
    with pytest.raises(ArtifactError, match=r"at least 3 clips of each domain, not 2: raise evaluation\.speech_clips and audio"):
        kernel_distance(clips_of(rng, 2), names(2), Reference(clips_of(rng, 5)))
    with pytest.raises(ArtifactError, match="embeddings are all the same"):
        Reference([np.ones((3, DIMS)), np.ones((2, DIMS))])
