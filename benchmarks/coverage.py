"""How often the 95 % intervals hold what they are of, in simulations where that is known.

    python benchmarks/coverage.py --repeats 2000 --fad-repeats 400

writes results/coverage.csv, a line a simulation as it ends: interval, n, clusters, nominal, measured, low, high (95 % interval of
``measured``, Wilson) and repeats. ``tests/unit/test_coverage.py`` runs a short version.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from agrepa.evaluation.frechet import REPEATS, Evaluated, Gaussian, fad_infinity, half_sampling
from agrepa.evaluation.kernel_distance import Reference, kernel_distance
from agrepa.evaluation.statistics import LEVEL, Design, Estimate, Floats, ratio
from agrepa.probes.measurement import Scores, summarise

Simulation = Callable[[np.random.Generator, int], list[bool]]
COLUMNS = ["interval", "n", "clusters", "nominal", "measured", "low", "high", "repeats"]
BAND = (0.93, 0.97)
CONSERVATIVE = (0.95, 1.0)
BIASED = (0.0, 1.0)
CHANNELS = 5  # of embeddings of the kernel distance
FRAMES, WIDTH, SHARED, SIZES, HALVES = 6, 16, 0.5, 8, 30
"""Of FAD: frames a clip, channels, part of the variance between clips, sizes of subsets and half-samples."""
SCALE, MORE = 0.8, 0.9  # deviations of the frames of two rows, where those of the reference are 1
LAYERS = 10  # of a made-up probe, all drawn together


@dataclass(frozen=True)
class Case:
    """One simulation.

    Attributes:
        n: clips of one draw, on average where it varies.
        clusters: what is left out or drawn together.
        run: ``run(rng, repeats)``, whether each interval holds the truth.
        band: what ``measured`` may be.
        slow: seconds an interval instead of milliseconds.
    """

    interval: str
    n: int
    clusters: int
    run: Simulation
    band: tuple[float, float] = BAND
    slow: bool = False


def names(count: int, each: int = 1) -> list[str]:
    return np.repeat(np.arange(count), each).astype(str).tolist()


def holds(found: Estimate, truth: float, positive: bool = False) -> bool:
    """Whether the estimate's interval holds the truth."""
    interval = found.interval(positive)
    assert interval.low is not None and interval.high is not None
    return interval.low <= truth <= interval.high


def utterances(rng: np.random.Generator, speakers: int, mean: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Word errors of utterances of unlike length, of speakers and clips with rates of their own: errors, words, member, rate."""
    member = np.repeat(np.arange(speakers), rng.integers(2, 9, speakers))
    own = rng.beta(8 * mean, 8 * (1 - mean), speakers)[member]
    rate = rng.beta(6 * own + 0.05, 6 * (1 - own) + 0.05)
    words = rng.integers(3, 15, len(member))
    return rng.binomial(words, rate), words, member, rate


def expected_rate(speakers: int, mean: float) -> float:
    """What the rate of so many speakers is on average."""
    rng = np.random.default_rng(99)
    drawn = [utterances(rng, speakers, mean) for _ in range(2000)]
    return float(sum(d[0].sum() for d in drawn) / sum(d[1].sum() for d in drawn))


def rate(rng: np.random.Generator, repeats: int, speakers: int) -> list[bool]:
    truth, inside = expected_rate(speakers, 0.35), []
    for _ in range(repeats):
        errors, words, member, _ = utterances(rng, speakers, 0.35)
        inside.append(holds(ratio(errors, words, member.astype(str).tolist()), truth, positive=True))
    return inside


def percentile_bootstrap(rng: np.random.Generator, repeats: int, speakers: int) -> list[bool]:
    """What the intervals of rates took the place of."""
    truth, inside = expected_rate(speakers, 0.35), []
    for _ in range(repeats):
        errors, words, member, _ = utterances(rng, speakers, 0.35)
        tops, bottoms = np.bincount(member, errors, speakers), np.bincount(member, words, speakers)
        drawn = rng.multinomial(speakers, np.full(speakers, 1 / speakers), 400)
        low, high = np.percentile(drawn @ tops / (drawn @ bottoms), [2.5, 97.5])
        inside.append(bool(low <= truth <= high))
    return inside


def paired(rng: np.random.Generator, repeats: int, speakers: int) -> list[bool]:
    """Arms whose difference varies with the speaker and is 0 on average."""
    inside = []
    for _ in range(repeats):
        errors, words, member, own = utterances(rng, speakers, 0.4)
        shift = 0.08 * rng.standard_normal(speakers)[member] * np.minimum(own, 1 - own)
        families = member.astype(str).tolist()
        inside.append(holds(ratio(rng.binomial(words, own + shift), words, families) - ratio(errors, words, families), 0))
    return inside


def given_speakers(rng: np.random.Generator, repeats: int, difference: bool) -> list[bool]:
    """Three speakers, of whom clips are drawn: their rate, or what another arm makes of the same clips."""
    sizes, inside = [14, 13, 13], []
    own, families = np.repeat([0.2, 0.4, 0.6], sizes), np.repeat(["a", "b", "c"], sizes).tolist()
    for _ in range(repeats):
        words = rng.integers(3, 15, len(own))
        each = rng.beta(6 * own, 6 * (1 - own))
        found = ratio(rng.binomial(words, each), words, families)
        if difference:
            inside.append(holds(found - ratio(rng.binomial(words, each), words, families), 0))
        else:
            inside.append(holds(found, float(own.mean()), positive=True))
    return inside


def trainings(rng: np.random.Generator, repeats: int, seeds: int, of_training: float) -> list[bool]:
    """Trainings that differ from each other by so much, beside what clips share and what a training does to each."""
    inside, count = [], 15
    for _ in range(repeats):
        clips = 0.1 * rng.standard_normal(count) + 0.12 * rng.standard_normal((seeds, count))
        values = clips + of_training * rng.standard_normal((seeds, 1))
        inside.append(holds(ratio(values, np.ones_like(values), names(count)), 0))
    return inside


def embedded(rng: np.random.Generator, count: int, shift: float = 0.0) -> list[Floats]:
    """Clips of 2 to 5 frames that resemble each other within a clip."""
    made = []
    for _ in range(count):
        own = rng.normal(size=CHANNELS)
        made.append(own + 0.5 * rng.normal(size=(rng.integers(2, 6), CHANNELS)) + shift)
    return made


def kernel(rng: np.random.Generator, repeats: int, clips: int) -> list[bool]:
    """To a reference that is given, whose own sampling error is no part of the interval."""
    reference = Reference(embedded(rng, 20))
    truth = float(np.mean([kernel_distance(embedded(rng, 10, 0.8), names(10), reference).values[0] for _ in range(800)]))
    return [holds(kernel_distance(embedded(rng, clips, 0.8), names(clips), reference), truth) for _ in range(repeats)]


def clustered(rng: np.random.Generator, clips: int, scale: float) -> list[Floats]:
    """Frames of deviation ``scale``, a part of it the clip's own: their distance to N(0, 1) is WIDTH (1 - scale)^2."""
    own = np.sqrt(SHARED) * rng.standard_normal((clips, 1, WIDTH))
    return list(scale * (own + np.sqrt(1 - SHARED) * rng.standard_normal((clips, FRAMES, WIDTH))))


def frechet_estimate(clips: list[Floats], seed: int) -> Estimate:
    """FAD-infinity of the clips, each a family, to N(0, 1); one seed shuffles and halves alike."""
    evaluated, rng = Evaluated(clips, Gaussian(np.zeros(WIDTH), np.eye(WIDTH))), np.random.default_rng(seed)
    design, count = Design.of(names(len(clips))), len(clips)
    value = fad_infinity(evaluated, np.arange(count), SIZES, REPEATS, rng)
    deviations = half_sampling(evaluated, design, SIZES, HALVES, rng)
    return Estimate(np.array([value]), deviations[None], count, count, design.unit, design.freedom)


@cache
def frechet_pairs(repeats: int, clips: int) -> list[tuple[Estimate, Estimate]]:
    """Two rows made of the same clips, the second with more spread than the first."""
    rng, pairs = np.random.default_rng(1), []
    for seed in range(repeats):
        made = clustered(rng, clips, SCALE)
        other = [MORE / SCALE * (np.sqrt(0.9) * c + np.sqrt(0.1) * SCALE * rng.standard_normal(c.shape)) for c in made]
        pairs.append((frechet_estimate(made, seed), frechet_estimate(other, seed)))
    return pairs


def frechet(rng: np.random.Generator, repeats: int, clips: int, what: str) -> list[bool]:
    """Whether the interval holds what so many clips give on average, the distance itself, or the difference of two rows."""
    pairs = frechet_pairs(repeats, clips)
    if what == "difference":
        return [holds(other - made, WIDTH * ((1 - MORE) ** 2 - (1 - SCALE) ** 2)) for made, other in pairs]
    mean = float(np.mean([made.values[0] for made, _ in pairs]))
    return [holds(made, mean if what == "average" else WIDTH * (1 - SCALE) ** 2) for made, _ in pairs]


def probe(rng: np.random.Generator, repeats: int, clips: int) -> list[bool]:
    """Relative changes of the velocity, skewed and above zero; a layer of the probe is a draw of the simulation."""
    spread = 0.4
    truth, inside = np.exp(spread**2 / 2), []
    for seed in range(repeats // LAYERS):
        values = np.exp(spread * rng.standard_normal((LAYERS, 1, clips)))
        found = summarise(Scores(values, names(clips)), [0.5], 1000, seed)
        inside += [bool(low <= truth <= high) for low, high in zip(found["low"], found["high"], strict=True)]
    return inside


def cases() -> Iterator[Case]:
    """Every interval in use, the quick ones first."""
    for clips in (12, 24, 64):
        yield Case("probe score over clips, bootstrap", clips, clips, partial(probe, clips=clips))
    for speakers in (10, 30):
        run = partial(rate, speakers=speakers)
        yield Case("rate over speakers, jackknife, t of the logarithm", 5 * speakers, speakers, run)
    for speakers in (10, 30):
        run = partial(paired, speakers=speakers)
        yield Case("paired difference over speakers, jackknife, t", 5 * speakers, speakers, run)
    yield Case("rate of three given speakers, stratified jackknife", 40, 40, partial(given_speakers, difference=False))
    yield Case("paired difference, three given speakers, stratified", 40, 40, partial(given_speakers, difference=True))
    for seeds in (2, 3, 5):
        for of_training in (0.0, 0.05, 0.2):
            run = partial(trainings, seeds=seeds, of_training=of_training)
            yield Case(f"mean of {seeds} trainings, deviation of training {of_training:g}", 15, 15, run)
    for clips in (10, 20):
        yield Case("kernel distance, jackknife over clips", clips, clips, partial(kernel, clips=clips))
    for clips in (20, 40):
        for what, name, band in (
            ("average", "FAD-infinity, of what so many clips give on average, half-samples", CONSERVATIVE),
            ("distance", "FAD-infinity, of the distance itself, half-samples", BIASED),
            ("difference", "paired difference of FAD-infinity, half-samples", CONSERVATIVE),
        ):
            yield Case(name, clips, clips, partial(frechet, clips=clips, what=what), band, True)


def line(case: Case, inside: list[bool]) -> dict[str, object]:
    """A line of the table."""
    found = stats.binomtest(sum(inside), len(inside)).proportion_ci(method="wilson")
    numbers = {"nominal": LEVEL, "measured": np.mean(inside), "low": found.low, "high": found.high, "repeats": len(inside)}
    return {"interval": case.interval, "n": case.n, "clusters": case.clusters} | numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--fad-repeats", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("results/coverage.csv"))
    given = parser.parse_args()
    lines = []
    for case in cases():
        repeats = given.fad_repeats if case.slow else given.repeats
        lines.append(line(case, case.run(np.random.default_rng(1), repeats)))
        pd.DataFrame(lines, columns=COLUMNS).to_csv(given.out, index=False, float_format="%.4g", lineterminator="\n")
        print(*lines[-1].values(), sep="  ", flush=True)


if __name__ == "__main__":
    main()
