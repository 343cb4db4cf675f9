"""Kernel audio distance: 100 times the squared maximum mean discrepancy of two sets of embedding frames, unbiased.

With a Gaussian kernel k(x, y) = exp(-|x - y|^2 / 2 s^2), s the median distance between frames of the reference (Chung et al.
2025; Gretton et al. 2012, Eq. 3),

    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y).

It assumes no Gaussian and has no bias of small samples, so that nothing is extrapolated. Frames of one clip resemble each other;
pairs are therefore taken of different clips only, where the usual estimate leaves out a frame's pair with itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist, pdist

from agrepa.errors import ArtifactError
from agrepa.evaluation.statistics import Design, Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agrepa.evaluation.statistics import Floats

SCALE = 100
MEDIAN_FRAMES = 2000  # frames of the reference, evenly spaced, whose pairs give the bandwidth
ROWS = 512  # frames whose kernel with all others is held at once


class Reference:
    """The real clips: their frames ``[T_i, D]``, the bandwidth, and what they have in common with each other."""

    def __init__(self, clips: list[Floats]) -> None:
        if len(clips) < 2:
            raise ArtifactError("a kernel distance needs at least 2 real clips: raise evaluation.frechet.reference_clips")
        self.frames = np.concatenate(clips)
        spaced = self.frames[:: max(1, len(self.frames) // MEDIAN_FRAMES)]
        self.bandwidth = float(np.median(pdist(spaced)))
        if not self.bandwidth > 0:
            raise ArtifactError("the real clips' embeddings are all the same: is the encoder the right one?")
        sums, counts = self.between(clips, clips)
        self.common = _off_diagonal(sums) / _off_diagonal(counts)

    def between(self, one: list[Floats], two: list[Floats]) -> tuple[Floats, Floats]:
        """Sums of the kernel over all pairs of frames of each pair of clips ``[N, M]``, and how many pairs those are."""
        sizes = [np.array([len(clip) for clip in clips]) for clips in (one, two)]
        starts = [np.cumsum(size) - size for size in sizes]
        others = np.concatenate(two)
        frames = np.concatenate(one)
        by_clip = np.concatenate(
            [np.add.reduceat(self.kernel(frames[i : i + ROWS], others), starts[1], 1) for i in range(0, len(frames), ROWS)]
        )
        return np.add.reduceat(by_clip, starts[0], 0), np.outer(*sizes).astype(np.float64)

    def kernel(self, one: Floats, two: Floats) -> Floats:
        found: Floats = np.exp(cdist(one, two, "sqeuclidean") / (-2 * self.bandwidth**2))
        return found


def _off_diagonal(table: Floats) -> float:
    return float(table.sum() - np.trace(table))


def kernel_distance(clips: list[Floats], families: Sequence[str], reference: Reference) -> Estimate:
    """100 MMD^2 of the clips, frames ``[T_i, D]``, to the reference, whose own sampling error is not in the deviations.

    Raises ArtifactError when there are fewer than three clips.
    """
    if len(clips) < 3:
        raise ArtifactError(
            f"a kernel distance needs at least 3 clips of each domain, not {len(clips)}: raise evaluation.speech_clips and "
            "audio_clips"
        )
    own, pairs = reference.between(clips, clips)
    to_real = reference.between(clips, [reference.frames])[0][:, 0]
    sizes = np.array([len(clip) for clip in clips])

    def value(kept: np.ndarray) -> float:
        inner = _off_diagonal(own[np.ix_(kept, kept)]) / _off_diagonal(pairs[np.ix_(kept, kept)])
        outer = to_real[kept].sum() / (sizes[kept].sum() * len(reference.frames))
        return SCALE * float(inner + reference.common - 2 * outer)

    design = Design.of(families)
    units = len(design.stratum)
    everything = value(np.ones(len(clips), dtype=bool))
    left_out = np.array([[value(design.member != unit) for unit in range(units)]])
    deviations = design.deviations(left_out)
    return Estimate(np.array([everything]), deviations, len(clips), units, design.unit, design.freedom)
