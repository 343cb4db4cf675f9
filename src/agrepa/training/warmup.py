"""Phase I: train Base with BiT-C, keeping snapshots for the trend of the probes (App. A.5)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import torch

from agrepa.artifacts import save_tensors
from agrepa.flow.path import generator
from agrepa.model.dit import DiT
from agrepa.tokens.sequence import vocabularies
from agrepa.training.batches import Clips, Sources
from agrepa.training.loop import Run
from agrepa.training.objective import Objective

if TYPE_CHECKING:
    from agrepa.params import Experiment


def run(p: Experiment, state: Path, checkpoint: Path, log: Path, snapshots: Path, **sources: Unpack[Sources]) -> None:
    """Train ``warmup_steps`` steps from a seeded initialisation.

    Args:
        state: folder of resumable state.
        checkpoint, log: the trained state and its loss log.
        snapshots: folder of ``<step>.safetensors``, the moving average's DiT every ``snapshot_every`` steps.
    """
    clips = Clips(p, sources)
    torch.manual_seed(generator(p.seed, "initialisation").initial_seed())
    objective = Objective(p, p.mel.bands, vocabularies(p.tokens), clips.teacher_widths())
    training = Run(p, objective, clips, "warmup", p.seed, 0, p.training.warmup_steps, None, state, p.fingerprint)

    def snapshot(step: int, model: DiT) -> None:
        if step % p.training.snapshot_every == 0:
            save_tensors(state / "snapshots" / f"{step}.safetensors", dict(model.named_parameters()))

    training.fit(snapshot)
    shutil.copytree(state / "snapshots", snapshots)
    training.finish(checkpoint, log)
