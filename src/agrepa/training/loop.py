"""The training loop of both phases: resumable, and the same to the bit however often it is interrupted."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch.nn.utils import clip_grad_norm_

from agrepa.artifacts import read_table, write_table
from agrepa.errors import AgrepaError
from agrepa.flow.path import generator
from agrepa.model.dit import DiT
from agrepa.progress import track
from agrepa.training import checkpoint
from agrepa.training.batches import Clips, Plan
from agrepa.training.objective import Objective, draw
from agrepa.training.validation import validate

if TYPE_CHECKING:
    from agrepa.params import Experiment

Hook = Callable[[int, DiT], None]


def learning_rate(p: Experiment, step: int) -> float:
    """Linear warm-up, then a half cosine to zero over both phases."""
    total = p.training.warmup_steps + p.training.arm_steps
    if step < p.training.lr_warmup_steps:
        return p.training.learning_rate * (step + 1) / p.training.lr_warmup_steps
    done = (step - p.training.lr_warmup_steps) / max(total - p.training.lr_warmup_steps, 1)
    return p.training.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class Run:
    """One training run from ``start`` to ``stop``.

    Args:
        row: name in the logs, "warmup" or an arm.
        seed: of data order, noise and dropout.
        initial: checkpoint to start from, or None.
        state: folder of resumable state, outside the outputs; emptied when the run is finished.
        fingerprint: everything that the run depends on; state of another fingerprint is discarded.
    """

    def __init__(
        self,
        p: Experiment,
        objective: Objective,
        clips: Clips,
        row: str,
        seed: int,
        start: int,
        stop: int,
        initial: Path | None,
        state: Path,
        fingerprint: object,
    ) -> None:
        self.p, self.clips, self.row, self.seed, self.stop, self.state = p, clips, row, seed, stop, state
        self.fabric = Fabric(accelerator=p.training.accelerator, devices=1, precision=p.training.precision)
        self.fabric.launch()
        objective.to(self.fabric.device)
        optimizer = torch.optim.AdamW(objective.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=p.training.weight_decay)
        self.objective, self.average = objective, checkpoint.MovingAverage(objective, p.training.ema)
        self.fingerprint = hashlib.sha256(json.dumps(fingerprint, sort_keys=True, default=str).encode()).hexdigest()
        self.step, self.log = start, pd.DataFrame(columns=["row", "seed", "step", "series", "value"])
        saved = state / "checkpoint.safetensors"
        if saved.exists() and checkpoint.meta(saved).get("fingerprint") == self.fingerprint:
            checkpoint.load(saved, objective, self.average, optimizer)
            self.step, self.log = (
                checkpoint.meta(saved)["step"],
                read_table(state / f"log-{checkpoint.meta(saved)['step']}.parquet"),
            )
            print(f"{row}: resuming at step {self.step}", file=sys.stderr, flush=True)
        else:
            if state.exists():
                print(
                    f"{row}: discarding the state in {state}, which is of other params, inputs or code",
                    file=sys.stderr,
                    flush=True,
                )
                shutil.rmtree(state)
            if initial is not None:
                checkpoint.load(initial, objective, self.average, optimizer)
        self.optimizer = optimizer
        self.module, self.stepper = self.fabric.setup(objective, optimizer)

    def frozen(self) -> DiT:
        """A copy of the DiT with the moving average's weights, in eval mode."""
        model = copy.deepcopy(self.objective.dit)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.average.shadow[f"dit.{name}"])
        return model.eval()

    def write(self, step: int, values: dict[str, float]) -> None:
        rows = [(self.row, self.seed, step, series, value) for series, value in values.items()]
        added = pd.DataFrame(rows, columns=self.log.columns)
        self.log = added if self.log.empty else pd.concat([self.log, added], ignore_index=True)

    def save_state(self) -> None:
        """Log first, checkpoint last: a checkpoint on disk always has its log."""
        self.state.mkdir(parents=True, exist_ok=True)
        write_table(self.state / f"log-{self.step}.parquet", self.log)
        self.save(self.state / "checkpoint.safetensors")
        for old in self.state.glob("log-*.parquet"):
            if old.name != f"log-{self.step}.parquet":
                old.unlink()

    def save(self, path: Path) -> None:
        checkpoint.save(path, self.objective, self.average, self.optimizer, {"step": self.step, "fingerprint": self.fingerprint})

    def batches(self) -> Iterator[list[str]]:
        table = self.clips.table
        frames = {clip: self.clips.mel.frames[clip] for clip in table.id[table.split == "train"]}
        return Plan(frames, self.p.training.batch_frames, self.seed).steps(self.step)

    def fit(self, hook: Hook | None = None) -> None:
        """Train up to ``stop``; ``hook(step, frozen model)`` is called at every validation, first and last step included.

        Raises AgrepaError when the loss is not finite: nothing is written and the message names the step.
        """
        p, settings = self.p, self.p.training
        sums: dict[str, float] = {}
        count = 0
        plan = zip(range(self.step, self.stop), self.batches(), strict=False)
        for step, ids in track(plan, self.row, total=self.stop, unit="step", done=self.step):
            if step % settings.validate_every == 0:
                self.observe(step, hook)
            torch.manual_seed(generator(self.seed, "dropout", step).initial_seed())
            rate = learning_rate(p, step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            batch = self.clips.batch(ids)
            drawn = draw(p, batch, self.seed, step)
            device = self.fabric.device
            drawn.t, drawn.eps = drawn.t.to(device), drawn.eps.to(device)
            batch = batch.with_condition(drawn.condition).to(device)
            drawn.condition = batch.condition
            losses = self.module(batch, drawn)
            if not torch.isfinite(losses["total"]):
                raise AgrepaError(f"{self.row}: loss is {losses['total'].item()} at step {step}: lower training.learning_rate")
            self.stepper.zero_grad()
            self.fabric.backward(losses["total"])
            clip_grad_norm_(self.objective.parameters(), settings.gradient_clip)
            self.stepper.step()
            self.average.update(self.objective, step + 1)
            self.step, count = step + 1, count + 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.item()
            if self.step % settings.log_every == 0 or self.step == self.stop:
                self.write(self.step, {f"train_{k}": v / count for k, v in sums.items()} | {"learning_rate": rate})
                sums, count = {}, 0
            if self.step % settings.checkpoint_every == 0 and self.step < self.stop and count == 0:
                self.save_state()
        self.observe(self.stop, hook)

    def observe(self, step: int, hook: Hook | None) -> None:
        model = self.frozen()
        self.write(step, validate(self.p, model, self.clips))
        if hook is not None:
            hook(step, model)

    def finish(self, checkpoint_out: Path, log_out: Path) -> None:
        """Write the outputs. The resumable state is left until they are in their place."""
        self.save(checkpoint_out)
        write_table(log_out, self.log)
