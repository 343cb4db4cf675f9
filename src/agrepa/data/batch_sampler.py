"""The order in which training sees clips: a function of (seed, step) alone, however many processes share a step."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np


def pack(ordered: list[str], frames: dict[str, int], batch_frames: int) -> list[list[str]]:
    """Cut a list sorted by length into groups whose padded size stays within ``batch_frames``; a longer clip stands alone."""
    groups: list[list[str]] = []
    longest = 0
    for clip in ordered:
        longest = max(longest, frames[clip])
        if not groups or longest * (len(groups[-1]) + 1) > batch_frames:
            groups.append([])
            longest = frames[clip]
        groups[-1].append(clip)
    return groups


def shares(ids: list[str], processes: int, each: int) -> list[list[list[str]]]:
    """Deal the clips of a step out to ``processes``, for each up to ``each`` micro-batches that are not empty.

    They come one by one, in the batch's order of lengths, so that all are about as long and as many.
    """
    parts = [ids[part :: processes * each] for part in range(processes * each)]
    return [[part for part in parts[process::processes] if part] for process in range(processes)]


class BatchSampler:
    """Which clips make up the batch of each step. Epochs are reshuffled; clips of similar length share a batch.

    Args:
        frames: clip -> mel frames.
        batch_frames: mel frames of one batch, padding included.
        thinned, share: clips of which each epoch sees only this part, another one every time.
    """

    JITTER = 0.2  # relative noise on lengths before sorting, so that batches differ between epochs

    def __init__(
        self,
        frames: dict[str, int],
        batch_frames: int,
        seed: int,
        *,
        thinned: Collection[str] = (),
        share: float = 1.0,
    ) -> None:
        self.frames, self.batch_frames, self.seed = frames, batch_frames, seed
        self.thinned, self.share = sorted(thinned), share

    def clips(self, number: int) -> list[str]:
        """The clips of one epoch, sorted: of those that are thinned, a share drawn by (seed, epoch), at least one."""
        kept = max(round(self.share * len(self.thinned)), 1)
        order = np.random.default_rng([self.seed, number, 1]).permutation(len(self.thinned))
        return sorted({*self.frames} - {self.thinned[i] for i in order[kept:]})

    def epoch(self, number: int) -> list[list[str]]:
        """All batches of one epoch, in order."""
        rng, clips = np.random.default_rng([self.seed, number]), self.clips(number)
        length = np.array([self.frames[clip] for clip in clips]) * rng.uniform(1 - self.JITTER, 1 + self.JITTER, len(clips))
        groups = pack([clips[i] for i in np.argsort(length, kind="stable")], self.frames, self.batch_frames)
        return [groups[i] for i in rng.permutation(len(groups))]

    def steps(self, start: int) -> Iterator[list[str]]:
        """The batches of steps ``start``, ``start + 1``, … without end."""
        epoch = 0
        while start >= len(batches := self.epoch(epoch)):
            start, epoch = start - len(batches), epoch + 1
        while True:
            yield from batches[start:]
            start, epoch = 0, epoch + 1
            batches = self.epoch(epoch)
