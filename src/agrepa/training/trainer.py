"""The training loop of both phases: resumable, the same to the bit however often it is interrupted; on one process or several."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from agrepa.artifacts.files import read_table, write_table
from agrepa.data.steps import Steps
from agrepa.errors import AgrepaError, Interrupted
from agrepa.model.backbone import Backbone
from agrepa.progress import track
from agrepa.seeding import generator
from agrepa.training import checkpoint
from agrepa.training.leaving import Notice
from agrepa.training.processes import fabric_of, gathered
from agrepa.training.validation import clip_losses, means, table_of

if TYPE_CHECKING:
    from agrepa.data.dataset import Dataset
    from agrepa.data.steps import Share
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


@dataclass
class Window:
    """Losses since the last line of the log: their sums, and of how many steps."""

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, losses: dict[str, float]) -> None:
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in losses.items()}
        self.count += 1

    def means(self, prefix: str) -> dict[str, float]:
        return {f"{prefix}{name}": value / self.count for name, value in self.sums.items()}


class Trainer:
    """One training from ``start`` to ``stop``.

    Args:
        row: name in the logs, "warmup" or an arm.
        seed: of data order, noise and dropout.
        initial: checkpoint to start from, or None.
        state: where resumable state is kept; what is there of another fingerprint is discarded.

    Attributes:
        first: whether this process is the one that writes and speaks.
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
        self.fabric = fabric_of(p.training)
        self.first, self.window = self.fabric.is_global_zero, Window()
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
        if p.training.compile:
            objective.backbone.compile()
        self.module, self.stepper = self.fabric.setup(objective, optimizer)

    def _resume(self, optimizer: torch.optim.Optimizer) -> bool:
        """Go on from the state that is kept; False when there is none of this very job."""
        folder = self.state.folder
        saved = folder / "checkpoint.safetensors"
        # The first process decides for all: it is about to remove what it does not want.
        meta = self.fabric.broadcast(checkpoint.meta(saved) if self.first and saved.exists() else {})
        if meta.get("fingerprint") == self.state.fingerprint:
            checkpoint.load(saved, self.objective, self.average, optimizer)
            self.step, self.log = meta["step"], read_table(folder / f"log-{meta['step']}.parquet")
            self.window = Window(**meta["window"])
            if self.objective.supervision is not None:
                self.objective.supervision.recall(meta["supervision"])
            self.say(f"resuming at step {self.step}")
            return True
        if self.first and folder.exists() and any(folder.iterdir()):
            self.say(f"discarding the state in {folder}, which is of other params, inputs or code")
            shutil.rmtree(folder)
        return False

    def say(self, text: str) -> None:
        if self.first:
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
        """Log first, checkpoint last: a checkpoint on disk always has its log. All processes wait for it."""
        folder = self.state.folder
        if self.first:
            folder.mkdir(parents=True, exist_ok=True)
            write_table(folder / f"log-{self.step}.parquet", self.log)
            self.save(folder / "checkpoint.safetensors", window=asdict(self.window))
            for old in folder.glob("log-*.parquet"):
                if old.name != f"log-{self.step}.parquet":
                    old.unlink()
        self.fabric.barrier()

    def save(self, path: Path, **more: Any) -> None:
        meta: dict[str, Any] = {"step": self.step, "fingerprint": self.state.fingerprint, **more}
        if self.objective.supervision is not None:
            meta["supervision"] = self.objective.supervision.memory()
        checkpoint.save(path, self.objective, self.average, self.optimizer, meta)

    def fit(self, hook: Hook | None = None) -> None:
        """Train up to ``stop``.

        Args:
            hook: ``hook(step, frozen backbone)`` is called by the first process after every ``snapshot_every`` steps and after
                the last; what it gives is logged.

        Raises AgrepaError when the loss is not finite: nothing is written and the message names the step. Raises Interrupted when
        the training was asked to leave: all processes have finished the same step, and its state is kept.
        """
        settings = self.p.training
        steps = Steps(self.p, self.dataset, self.seed, self.fabric.global_rank, self.fabric.world_size)
        plan = steps.between(self.step, self.stop)
        if self.first:
            plan = track(plan, self.row, total=self.stop, unit="step", done=self.step)
        with Notice(self.state.leave_by) as notice:
            for share in plan:
                rate = learning_rate(settings, share.step)
                losses, leaving = self.train(share, rate, notice)
                self.step = share.step + 1
                self.window.add(losses)
                last = self.step == self.stop
                if self.step % settings.log_every == 0 or last:
                    self.write(self.step, self.window.means("train_") | {"learning_rate": rate})
                    self.window = Window()
                if self.step % settings.validate_every == 0 or last:
                    self.losses = self.validated()
                    self.write(self.step, means(self.losses))
                if hook is not None and (self.step % settings.snapshot_every == 0 or last):
                    self.write(self.step, self.hooked(hook))
                if (self.step % settings.checkpoint_every == 0 or leaving) and not last:
                    self.save_state()
                if leaving and not last:
                    reason = notice.reason or "another of its processes was asked to"
                    raise Interrupted(f"{self.row} left at step {self.step} of {self.stop} ({reason}): run it again to go on")
                notice.lap()

    def train(self, share: Share, rate: float, notice: Notice) -> tuple[dict[str, float], bool]:
        """One update on all processes together; gives the losses of the whole step, and whether any process has to leave."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.stepper.zero_grad()
        found: list[Tensor] = []
        for place, (batch, drawn) in enumerate(share.batches):
            apart = () if (self.fabric.world_size, self.p.training.accumulate) == (1, 1) else (self.fabric.global_rank, place)
            torch.manual_seed(generator(self.seed, "dropout", share.step, *apart).initial_seed())
            with self.fabric.no_backward_sync(self.module, enabled=place + 1 < len(share.batches)):
                losses = self.module(batch.to(self.fabric.device), drawn.to(self.fabric.device))
                # Gradients are averaged over the processes, and losses are parts of a sum.
                self.fabric.backward(losses["total"] * (0 if share.idle else self.fabric.world_size))
            found.append(torch.stack([value.detach() for value in losses.values()]) * (not share.idle))
        asked = found[0].new_full((1,), float(bool(notice.reason)))
        reduced = self.fabric.all_reduce(torch.cat([torch.stack(found).sum(0), asked]), reduce_op="sum")
        assert isinstance(reduced, Tensor)
        *values, asking = reduced.tolist()
        summed = dict(zip(losses, values, strict=True))
        if not math.isfinite(summed["total"]):
            raise AgrepaError(f"{self.row}: loss is {summed['total']} at step {share.step}: lower training.learning_rate")
        clip_grad_norm_(self.objective.parameters(), self.p.training.gradient_clip)
        self.stepper.step()
        self.average.update_parameters(self.averaged(self.objective))
        return summed, asking > 0

    def validated(self) -> pd.DataFrame:
        """Losses of all validation clips, each process having taken its part of them."""
        mine = clip_losses(self.p, self.frozen(), self.dataset, self.fabric.global_rank, self.fabric.world_size)
        return table_of(self.dataset, gathered(mine))

    def hooked(self, hook: Hook) -> dict[str, float]:
        """What the hook gives the first process, which is then what all of them go by."""
        written = hook(self.step, self.frozen()) if self.first else None
        term = self.objective.supervision
        if self.fabric.world_size > 1:
            memory = None if term is None else term.memory()
            written, memory = self.fabric.broadcast((written, memory))
            if term is not None:
                term.recall(memory)
        return written or {}

    def finish(self, checkpoint_out: Path, log_out: Path, validation_out: Path) -> None:
        """Write the outputs of a finished training, with the moving average's validation losses clip by clip.

        The resumable state is left until they are in their place.
        """
        if self.first:
            self.save(checkpoint_out)
            write_table(log_out, self.log)
            write_table(validation_out, self.losses)
        self.fabric.barrier()
