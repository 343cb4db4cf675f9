"""A vector quantiser learnt over frozen frames: centres follow their frames by exponential moving averages (van den Oord et al.,
2017, appendix A.1), and those that lose theirs start again elsewhere (Dhariwal et al., 2020, section 3.1).

There is no encoder to train under it, so that no commitment loss is left: what remains is k-means by mini-batches, which costs no
more with many centres and keeps all of them in use.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.vq import vq

BATCH = 1024  # frames of a step
DECAY = 0.99  # of the averages, a step
DEAD = 0.1  # of an even share of the frames: a centre with less starts again
SMOOTHING = 1e-5  # Laplace's, of the counts


def centres(frames: np.ndarray, vocabulary: int, passes: int, seed: int) -> np.ndarray:
    """Centres ``[V, D]`` of frames ``[N, D]``, of which there are V at least.

    They begin as frames drawn with ``seed``. In the last of several passes none starts again, so that all are averages.
    """
    rng = np.random.default_rng(seed)
    found = frames[rng.choice(len(frames), vocabulary, replace=False)].astype(np.float32)
    share = min(BATCH, len(frames)) / vocabulary
    counts, sums = np.full(vocabulary, share), share * found.astype(np.float64)
    for number in range(passes):
        order = rng.permutation(len(frames))
        for start in range(0, len(frames), BATCH):
            batch = frames[order[start : start + BATCH]].astype(np.float32)
            codes, _ = vq(batch, found)
            added = torch.zeros(sums.shape, dtype=torch.float64)
            added.index_add_(0, torch.from_numpy(codes.astype(np.int64)), torch.from_numpy(batch.astype(np.float64)))
            counts = DECAY * counts + (1 - DECAY) * np.bincount(codes, minlength=vocabulary)
            sums = DECAY * sums + (1 - DECAY) * added.numpy()
            dead = np.flatnonzero(counts < DEAD * share)
            if len(dead) and number < max(passes - 1, 1):
                counts[dead] = share
                sums[dead] = share * batch[rng.integers(len(batch), size=len(dead))]
            total = counts.sum()
            smoothed = (counts + SMOOTHING) / (total + vocabulary * SMOOTHING) * total
            found = (sums / smoothed[:, None]).astype(np.float32)
    return found
