"""The training loop of both phases: resumable, and the same to the bit however often it is interrupted."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.utils import clip_grad_norm_

from agrepa.artifacts.files import read_table, write_table
from agrepa.data.batch_sampler import BatchSampler
from agrepa.data.noise import crops, draw
from agrepa.errors import AgrepaError
from agrepa.model.backbone import Backbone
from agrepa.progress import track
from agrepa.seeding import generator
from agrepa.training import checkpoint
from agrepa.training.validation import clip_losses, means

if TYPE_CHECKING:
    from agrepa.data.dataset import Dataset
    from agrepa.job import State
    from agrepa.params.stages import ModelSettings
    from agrepa.params.training import Training
    from agrepa.training.objective import Objective

Hook = Callable[[int, Backbone], dict[str, float] | None]


def learning_rate(settings: Training, step: int) -> float:
    """Linear warm-up, then a half cosine to zero over both phases."""
    total = settings.warmup_steps + settings.arm_steps
    if step < settings.lr_warmup_steps:
        return settings.learning_rate * (step + 1) / settings.lr_warmup_steps
    done = (step - settings.lr_warmup_steps) / max(total - settings.lr_warmup_steps, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class Trainer:
    """One training from ``start`` to ``stop``.

    Args:
        row: name in the logs, "warmup" or an arm.
        seed: of data order, noise and dropout.
        initial: checkpoint to start from, or None.
        state: where resumable state is kept; what is there of another fingerprint is discarded.
    """

    def __init__(
        self,
        p: ModelSettings,
        objective: Objective,
        dataset: Dataset,
        row: str,
        seed: int,
        start: int,
        stop: int,
        initial: Path | None,
        state: State,
    ) -> None:
        self.p, self.dataset, self.row, self.seed, self.stop, self.state = p, dataset, row, seed, stop, state
        self.fabric = Fabric(accelerator=p.training.accelerator, devices=1, precision=p.training.precision)
        self.fabric.launch()
        objective.to(self.fabric.device)
        optimizer = torch.optim.AdamW(
            objective.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=p.training.weight_decay, fused=True
        )
        planned = p.training.warmup_steps + p.training.arm_steps
        self.objective, self.average = objective, checkpoint.moving_average(self.averaged(objective), p.training.ema, planned)
        self.step, self.log = start, pd.DataFrame(columns=["row", "seed", "step", "series", "value"])
        if not self._resume(optimizer) and initial is not None:
            checkpoint.load(initial, objective, self.average, optimizer)
        self.optimizer = optimizer
        self.module, self.stepper = self.fabric.setup(objective, optimizer)

    def _resume(self, optimizer: torch.optim.Optimizer) -> bool:
        """Go on from the state that is kept; False when there is none of this very job."""
        folder = self.state.folder
        saved = folder / "checkpoint.safetensors"
        if saved.exists() and (meta := checkpoint.meta(saved)).get("fingerprint") == self.state.fingerprint:
            checkpoint.load(saved, self.objective, self.average, optimizer)
            self.step, self.log = meta["step"], read_table(folder / f"log-{meta['step']}.parquet")
            if self.objective.supervision is not None:
                self.objective.supervision.recall(meta["supervision"])
            self.say(f"resuming at step {self.step}")
            return True
        if folder.exists() and any(folder.iterdir()):
            self.say(f"discarding the state in {folder}, which is of other params, inputs or code")
            shutil.rmtree(folder)
        return False

    def say(self, text: str) -> None:
        print(f"{self.row}: {text}", file=sys.stderr, flush=True)

    @staticmethod
    def averaged(objective: Objective) -> nn.Module:
        """What is evaluated and probed later, and so has a moving average: all but the heads of an arm."""
        return nn.ModuleDict({"backbone": objective.backbone, "bit_c": objective.bit_c})

    def frozen(self) -> Backbone:
        """The moving average's backbone, in eval mode; it moves on with the next step."""
        backbone = self.average.module.get_submodule("backbone")
        assert isinstance(backbone, Backbone)
        return backbone

    def write(self, step: int, values: dict[str, float]) -> None:
        rows = [(self.row, self.seed, step, series, value) for series, value in values.items()]
        added = pd.DataFrame(rows, columns=self.log.columns)
        self.log = added if self.log.empty else pd.concat([self.log, added], ignore_index=True)

    def save_state(self) -> None:
        """Log first, checkpoint last: a checkpoint on disk always has its log."""
        folder = self.state.folder
        folder.mkdir(parents=True, exist_ok=True)
        write_table(folder / f"log-{self.step}.parquet", self.log)
        self.save(folder / "checkpoint.safetensors")
        for old in folder.glob("log-*.parquet"):
            if old.name != f"log-{self.step}.parquet":
                old.unlink()

    def save(self, path: Path) -> None:
        meta: dict[str, Any] = {"step": self.step, "fingerprint": self.state.fingerprint}
        if self.objective.supervision is not None:
            meta["supervision"] = self.objective.supervision.memory()
        checkpoint.save(path, self.objective, self.average, self.optimizer, meta)

    def batches(self) -> Iterator[list[str]]:
        """Clips of the batches from this step on."""
        training, table = self.p.training, self.dataset.table
        frames = self.dataset.frames(self.dataset.of_split("train"), training.crop_frames)
        sampler = BatchSampler(
            frames,
            training.batch_frames,
            self.seed,
            thinned=[clip for clip in frames if table.domain[clip] == "audio"],
            share=training.audio_share,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
        )
        return sampler.steps(self.step)

    def fit(self, hook: Hook | None = None) -> None:
        """Train up to ``stop``.

        Args:
            hook: ``hook(step, frozen backbone)`` is called after every ``snapshot_every`` steps and after the last; what it gives
                is logged.

        Raises AgrepaError when the loss is not finite: nothing is written and the message names the step.
        """
        settings = self.p.training
        sums: dict[str, float] = {}
        count = 0
        plan = zip(range(self.step, self.stop), self.batches(), strict=False)
        for step, ids in track(plan, self.row, total=self.stop, unit="step", done=self.step):
            rate = learning_rate(settings, step)
            losses = self.train(step, ids, rate)
            self.step, count = step + 1, count + 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            if self.step % settings.log_every == 0 or self.step == self.stop:
                self.write(self.step, {f"train_{k}": v / count for k, v in sums.items()} | {"learning_rate": rate})
                sums, count = {}, 0
            if self.step % settings.validate_every == 0 or self.step == self.stop:
                self.losses = clip_losses(self.p, self.frozen(), self.dataset)
                self.write(self.step, means(self.losses))
            if hook is not None and (self.step % settings.snapshot_every == 0 or self.step == self.stop):
                self.write(self.step, hook(self.step, self.frozen()) or {})
            if self.step % settings.checkpoint_every == 0 and self.step < self.stop and count == 0:
                self.save_state()

    def train(self, step: int, ids: list[str], rate: float) -> dict[str, float]:
        """One update on the clips ``ids``; gives its losses."""
        torch.manual_seed(generator(self.seed, "dropout", step).initial_seed())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        windows = crops(self.dataset.frames(ids), self.p.training.crop_frames, self.seed, step)
        batch = self.dataset.batch(ids, windows=windows)
        drawn = draw(self.p, batch, self.seed, step).to(self.fabric.device)
        losses = self.module(batch.to(self.fabric.device), drawn)
        if not torch.isfinite(losses["total"]):
            raise AgrepaError(f"{self.row}: loss is {losses['total'].item()} at step {step}: lower training.learning_rate")
        self.stepper.zero_grad()
        self.fabric.backward(losses["total"])
        clip_grad_norm_(self.objective.parameters(), self.p.training.gradient_clip)
        self.stepper.step()
        self.average.update_parameters(self.averaged(self.objective))
        return {name: value.item() for name, value in losses.items()}

    def finish(self, checkpoint_out: Path, log_out: Path, validation_out: Path) -> None:
        """Write the outputs of a finished training, with the moving average's validation losses clip by clip.

        The resumable state is left until they are in their place.
        """
        self.save(checkpoint_out)
        write_table(log_out, self.log)
        write_table(validation_out, self.losses)
