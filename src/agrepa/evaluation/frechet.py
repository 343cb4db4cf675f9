"""Frechet audio distance, extrapolated to infinitely many clips, with a half-sampling interval.

The distance between the Gaussians of two sets of embedding frames (Dowson & Landau 1982; Kilgour et al. 2019 for audio) is

    d^2 = |mu_1 - mu_2|^2 + Tr C_1 + Tr C_2 - 2 Tr sqrt(C_1 C_2).

With C_i = A_i^T A_i the last trace is the nuclear norm of A_1 A_2^T, because C_1 C_2 has the same non-zero eigenvalues as
(A_1 A_2^T)(A_1 A_2^T)^T. That is real and not negative even when there are fewer frames than channels, where a matrix
square root of C_1 C_2 is neither stable nor real.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agrepa.artifacts.features import Feature, FeatureStore
from agrepa.artifacts.files import write_json, write_table
from agrepa.corpora import manifest as manifests
from agrepa.errors import ArtifactError
from agrepa.evaluation.embeddings import OUTPUT
from agrepa.evaluation.kernel_distance import Reference, kernel_distance
from agrepa.evaluation.statistics import FEWEST_CLUSTERS, Design, Estimate
from agrepa.job import In, Out, Wildcard

if TYPE_CHECKING:
    from agrepa.params.evaluation import Frechet
    from agrepa.params.stages import FadSettings

Floats = NDArray[np.float64]
Clips = NDArray[np.int64]  # positions in the evaluation list
SMALLEST_PART = 1 / 3  # the smallest subset of the extrapolation, as part of all clips
FEWEST_CLIPS = 3  # below this there is no line to fit
FEWEST_UNITS = FEWEST_CLUSTERS  # of clips; below this half of them are too few to extrapolate from
REPEATS = 8  # shuffles behind a value
REPEATS_IN_HALVES = 2  # and behind each half-sample


@dataclass(frozen=True)
class Gaussian:
    """Mean ``[D]`` and a factor A ``[R, D]`` of the covariance: C = A^T A, unbiased (divided by n - 1)."""

    mean: Floats
    factor: Floats

    @classmethod
    def of(cls, frames: Floats) -> Gaussian:
        """Of frames ``[N, D]``; ArtifactError when there are fewer than two."""
        if len(frames) < 2:
            raise ArtifactError(f"a covariance needs at least 2 frames, not {len(frames)}: give the domain more or longer clips")
        frames = np.asarray(frames, dtype=np.float64)
        mean = frames.mean(0)
        factor = (frames - mean) / np.sqrt(len(frames) - 1)
        # Only A^T A matters, so the triangle of a QR decomposition does as well and is smaller.
        return cls(mean, np.linalg.qr(factor, mode="reduced").R if len(factor) > factor.shape[1] else factor)


def frechet_distance(one: Gaussian, two: Gaussian) -> float:
    """The squared Frechet (2-Wasserstein) distance of two Gaussians, as FAD is reported."""
    shift = one.mean - two.mean
    nuclear = np.linalg.svd(one.factor @ two.factor.T, compute_uv=False).sum()
    return float(shift @ shift + (one.factor**2).sum() + (two.factor**2).sum() - 2 * nuclear)


class Evaluated:
    """The evaluated clips as one reference sees them, so that the distance of any subset of clips is cheap.

    Args:
        clips: frames ``[T_i, D]`` of each clip.
        reference: of the real clips.
    """

    def __init__(self, clips: list[Floats], reference: Gaussian) -> None:
        ends = np.cumsum([len(clip) for clip in clips])
        self.rows = [np.arange(end - len(clip), end) for clip, end in zip(clips, ends, strict=True)]
        shifted = np.concatenate(clips) - reference.mean
        self.sums = np.stack([shifted[rows].sum(0) for rows in self.rows])
        self.squares = np.array([(shifted[rows] ** 2).sum() for rows in self.rows])
        self.seen = shifted @ reference.factor.T
        self.trace = float((reference.factor**2).sum())

    def distance(self, clips: Clips) -> float:
        """``frechet_distance`` of the clips at these positions to the reference."""
        seen = self.seen[np.concatenate([self.rows[clip] for clip in clips])]
        frames, channels = seen.shape
        if frames < 2:
            raise ArtifactError("a covariance needs at least 2 frames and a subset has 1: give the domain more or longer clips")
        shift = float(np.square(self.sums[clips].sum(0) / frames).sum())
        trace = (self.squares[clips].sum() - frames * shift) / (frames - 1)
        seen -= seen.mean(0)
        # Singular values of `seen` through the smaller of its two Gram matrices; rounding can leave zeros a hair negative.
        gram = seen @ seen.T if frames <= channels else seen.T @ seen
        nuclear = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0, None)).sum() / np.sqrt(frames - 1)
        return float(shift + trace + self.trace - 2 * nuclear)


def subset_sizes(clips: int, count: int) -> list[int]:
    """At most ``count`` sizes from a third of the clips to all of them, evenly spaced in 1 / size.

    Raises ArtifactError when there are too few clips to fit a line.
    """
    if clips < FEWEST_CLIPS:
        raise ArtifactError(
            f"FAD needs at least {FEWEST_CLIPS} clips of each domain, not {clips}: raise evaluation.speech_clips and audio_clips"
        )
    smallest = max(2, clips * SMALLEST_PART)
    return sorted({round(1 / inverse) for inverse in np.linspace(1 / smallest, 1 / clips, count)})


def fad_infinity(evaluated: Evaluated, clips: Clips, sizes: int, repeats: int, rng: np.random.Generator) -> float:
    """FAD of infinitely many clips: the intercept of a line through (1 / size, FAD of subsets of that size).

    FAD grows with 1 / N as a sample shrinks (Chong & Forsyth 2020; Gui et al. 2024 for audio). Each of ``repeats`` shuffles
    of ``clips`` is cut into as many subsets of a size as it holds, so that small subsets, the noisiest, are averaged most.
    """
    counts = subset_sizes(len(clips), sizes)
    found: dict[int, list[float]] = {count: [] for count in counts}
    for repeat in range(repeats):
        shuffled = rng.permutation(clips)
        for count in counts:
            if count < len(clips) or repeat == 0:
                parts = (shuffled[start : start + count] for start in range(0, len(clips) - count + 1, count))
                found[count] += [evaluated.distance(part) for part in parts]
    means = [float(np.mean(found[count])) for count in counts]
    return float(np.polyfit([1 / count for count in counts], means, 1)[1])


def half_sampling(
    evaluated: Evaluated, design: Design, sizes: int, samples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Deviations ``[samples]`` of FAD-infinity over random halves of the units, whose sum of squares is its variance.

    Drawing WITH replacement would not do: a repeated clip adds no spread, so every resample looks like a smaller, worse set.
    Halves without replacement keep each clip once, and for h of g units the variance of the estimate over halves times
    h / (g - h) is the variance of the estimate itself: the delete-d jackknife (Shao & Wu 1989). Every stratum is halved.
    """
    units = len(design.stratum)
    values = np.empty(samples)
    for sample in range(samples):
        # Every other unit in a random order within the strata: of each of these a half.
        order = np.lexsort((rng.permutation(units), design.stratum))
        kept = np.isin(design.member, order[1::2])
        values[sample] = fad_infinity(evaluated, np.flatnonzero(kept), sizes, REPEATS_IN_HALVES, rng)
    half = units // 2
    scaled: NDArray[np.float64] = np.sqrt(half / (units - half) / samples) * (values - values.mean())
    return scaled


def score(clips: dict[str, Floats], families: list[str], reference: Gaussian, settings: Frechet, seed: int) -> dict[str, Any]:
    """A domain's entry of the metric's JSON.

    Args:
        clips: frames ``[T_i, D]`` by clip id, in the order of the evaluation list.
        families: of the clips, in the same order.
    """
    evaluated = Evaluated(list(clips.values()), reference)
    everything = np.arange(len(clips))
    rng = np.random.default_rng(seed)
    value = fad_infinity(evaluated, everything, settings.subset_sizes, REPEATS, rng)
    design = Design.of(families)
    deviations, freedom = np.zeros(1), 0.0
    if len(clips) >= FEWEST_UNITS:
        deviations = half_sampling(evaluated, design, settings.subset_sizes, settings.bootstrap, rng)
        freedom = design.freedom
    found = Estimate(np.array([value]), deviations[None], len(clips), len(design.stratum), design.unit, freedom)
    return stored(found, clips) | {"n_frames": sum(map(len, clips.values())), "fad_n": evaluated.distance(everything)}


def stored(found: Estimate, clips: Iterable[str]) -> dict[str, Any]:
    """An estimate as the metric's JSON keeps it, so that rows of the same clips can be subtracted."""
    kept = {"deviations": found.deviations[0].tolist(), "freedom": found.freedom}
    return found.interval().entry() | kept | {"clips": hashlib.sha256("\n".join(clips).encode()).hexdigest()}


def run(p: FadSettings, *, embedding: Wildcard, manifest: In, reference: In, evaluated: In, out: Out, utterances: Out) -> None:
    """Frechet and kernel audio distance of a row to the training recordings, under one embedding, by domain.

    Args:
        reference: index of the recordings' features.
        evaluated: shard of the row's embeddings.

    Raises ArtifactError when a clip of the evaluation list was not embedded, or a domain has no real clips.
    """
    table = manifests.read(manifest)
    real, made = FeatureStore([reference]).feature(embedding, OUTPUT), Feature.of_shard(evaluated, OUTPUT)
    result, rows = {}, []
    counts = {"speech": p.speech_clips, "audio": p.audio_clips}
    for domain, count in ((domain, count) for domain, count in counts.items() if count):
        ids = manifests.evaluation_list(table, p.split, domain, count)
        known = table[(table.split == "train") & (table.domain == domain)].id[: p.frechet.reference_clips]
        if known.empty:
            raise ArtifactError(f"{manifest} has no {domain} clips in the training split, which are FAD's reference")
        recordings = [real[clip].double().numpy() for clip in known]
        gaussian, reference_frames = Gaussian.of(np.concatenate(recordings)), Reference(recordings)
        clips = {clip: made[clip].double().numpy() for clip in ids}
        families = table.set_index("id").family.loc[ids].tolist()
        entry = score(clips, families, gaussian, p.frechet, p.seed)
        result[f"{domain}_fad_{embedding}"] = entry | {"reference_clips": len(known)}
        kernel = stored(kernel_distance(list(clips.values()), families, reference_frames), clips)
        result[f"{domain}_kad_{embedding}"] = kernel | {"reference_clips": len(known), "bandwidth": reference_frames.bandwidth}
        rows += [(clip, family, domain, len(clips[clip])) for clip, family in zip(ids, families, strict=True)]
    write_table(utterances, pd.DataFrame(rows, columns=["clip", "family", "domain", "frames"]))
    write_json(out, result)
