"""What a process trains on in each step: its share of the step's clips, made ready ahead of time by worker processes."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch.utils import data

from agrepa.data.batch_sampler import BatchSampler, shares
from agrepa.data.collate import Batch, Whole
from agrepa.data.noise import Draw, crops, draw

if TYPE_CHECKING:
    from agrepa.data.dataset import Dataset
    from agrepa.params.stages import ModelSettings

Planned = tuple[int, list[str]]
"""A step and its clips."""


@dataclass
class Share:
    """What one process does of a step.

    Attributes:
        batches: the micro-batches with their draws, at least one.
        idle: whether the step has no clip for this process. The batch is then another's: the process has to take part in what
            all do together, and its losses count nothing.
    """

    step: int
    batches: list[tuple[Batch, Draw]]
    idle: bool


class Steps(data.Dataset[Share]):
    """The shares of one process.

    Args:
        seed: of data order, crops and draws.
        rank, world: which of how many processes this is. What a step consists of depends on neither.
    """

    def __init__(self, p: ModelSettings, dataset: Dataset, seed: int, rank: int, world: int) -> None:
        self.p, self.dataset, self.seed, self.rank, self.world = p, dataset, seed, rank, world
        training, table = p.training, dataset.table
        frames = dataset.frames(dataset.of_split("train"), training.crop_frames)
        thinned = [clip for clip in frames if table.domain[clip] == "audio"]
        self.sampler = BatchSampler(frames, training.batch_frames, seed, thinned=thinned, share=training.audio_share)

    def __getitem__(self, planned: Planned) -> Share:
        step, ids = planned
        dealt = shares(ids, self.world, self.p.training.accumulate)
        whole = Whole(ids, [self.dataset.table.domain[clip] for clip in ids])
        mine = dealt[self.rank]
        return Share(step, [self.made(step, part, whole) for part in mine or dealt[0][:1]], not mine)

    def made(self, step: int, ids: list[str], whole: Whole) -> tuple[Batch, Draw]:
        """Clips of a step as one batch, with their draws."""
        windows = crops(self.dataset.frames(ids), self.p.training.crop_frames, self.seed, step)
        batch = replace(self.dataset.batch(ids, windows=windows), whole=whole)
        return batch, draw(self.p, batch, self.seed, step)

    def between(self, start: int, stop: int) -> Iterable[Share]:
        """The shares of the steps from ``start`` up to and without ``stop``; ``training.workers`` processes make them ahead."""

        def planned() -> Iterator[Planned]:
            yield from zip(range(start, stop), self.sampler.steps(start), strict=False)

        workers = self.p.training.workers
        return data.DataLoader(
            self, batch_size=None, sampler=planned(), num_workers=workers, worker_init_fn=_outlast_signals if workers else None
        )


def _outlast_signals(worker: int) -> None:
    """A signal that ends the whole job reaches the workers too, and the training needs them for the step that it finishes."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
