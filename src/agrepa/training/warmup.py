"""Phase I: train Base with BiT-C, keeping snapshots for the trend of the probes (App. A.5)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from agrepa.artifacts.files import save_tensors
from agrepa.data.dataset import Dataset
from agrepa.job import In, Ins, Out, State, Wildcard
from agrepa.training.initialisation import initial
from agrepa.training.objective import Objective
from agrepa.training.processes import in_every_process
from agrepa.training.trainer import Trainer

if TYPE_CHECKING:
    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import WarmupSettings


@in_every_process
def run(
    p: WarmupSettings,
    *,
    kind: Wildcard,
    seed: Wildcard,
    manifest: In,
    statistics: In,
    mel: In,
    tokens: In,
    codebooks: Ins,
    targets: Ins,
    state: State,
    checkpoint: Out,
    log: Out,
    validation: Out,
    snapshots: Out,
) -> None:
    """Phase I: train the backbone with BiT-C and keep snapshots.

    Args:
        seed: of the initialisation, the order of the clips, noise and dropouts: one replication of all that follows.
        codebooks: of every token stream, whose centres the token tables begin as.
        checkpoint, log: the state after ``warmup_steps`` steps from a seeded initialisation, and its loss log.
        validation: losses of the validation clips under the moving average, clip by clip.
        snapshots: folder of ``<step>.safetensors``, the moving average's backbone every ``snapshot_every`` steps.
    """
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens, teachers=p.teachers, targets=targets)
    objective = Objective(p.training, *initial(p, int(seed), codebooks, dataset.teacher_widths()))
    trainer = Trainer(p, objective, dataset, "warmup", int(seed), 0, p.training.warmup_steps, None, state)
    kept = state.folder / "snapshots"

    def snapshot(step: int, frozen: Backbone) -> None:
        if step % p.training.snapshot_every == 0:
            save_tensors(kept / f"{step}.safetensors", dict(frozen.named_parameters()))

    trainer.fit(snapshot)
    if trainer.first:
        shutil.copytree(kept, snapshots)
    trainer.finish(checkpoint, log, validation)
