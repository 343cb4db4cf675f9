"""Phase II: train one arm with the layers and weights of its selection, from the warm-up checkpoint or from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from agrepa.alignment import supervision
from agrepa.alignment.bit_c import BiTC
from agrepa.alignment.protocols import Course, OverTime
from agrepa.artifacts.files import read_json
from agrepa.data.dataset import Dataset
from agrepa.data.noise import draw
from agrepa.errors import ArtifactError
from agrepa.job import In, Ins, Out, State, Wildcard
from agrepa.model.backbone import build
from agrepa.seeding import generator
from agrepa.tokens.sequence import vocabularies
from agrepa.training import checkpoint as checkpoints
from agrepa.training.initialisation import initial
from agrepa.training.objective import Objective
from agrepa.training.processes import in_every_process
from agrepa.training.trainer import Trainer

if TYPE_CHECKING:
    from agrepa.alignment.protocols import Selection, Share
    from agrepa.data.collate import Batch
    from agrepa.data.noise import Draw
    from agrepa.params.stages import ArmSettings


def selected(selection: Path) -> Selection:
    """Layers and weights of a selection.json; domains without layers are left out."""
    found: Selection = {}
    for domain, entry in read_json(selection)["domains"].items():
        shares: list[Share] = entry["weights"]
        if "weights_by_time" in entry:
            shares = [OverTime(entry["times"], list(values)) for values in zip(*entry["weights_by_time"], strict=True)]
        if entry["layers"]:
            found[domain] = entry["layers"], shares
    return found


@in_every_process
def run(
    p: ArmSettings,
    *,
    arm: Wildcard,
    seed: Wildcard,
    warmup: Ins,
    codebooks: Ins,
    selection: In,
    manifest: In,
    statistics: In,
    mel: In,
    tokens: In,
    targets: Ins,
    features: Ins,
    state: State,
    checkpoint: Out,
    log: Out,
    validation: Out,
) -> None:
    """Phase II: train an arm for ``arm_steps`` steps, or from scratch for those of both phases.

    Every arm sees the same data in the same order, with the same noise and dropouts.

    Args:
        warmup: the checkpoint that the arm starts from; none where it starts from scratch.
        codebooks: of every token stream, for an arm from scratch; none for others.
        features: the teachers' frames, where the arm's target reads them.
        validation: losses of the validation clips under the moving average, clip by clip.

    Raises ArtifactError when there is not one checkpoint for an arm from the warm-up, or any for one from scratch.
    """
    if len(warmup) != (p.start == "warmup"):
        raise ArtifactError(
            f"arm {arm!r} starts from {p.start}, and {len(warmup)} checkpoints were given: a warmup has one, scratch none"
        )
    dataset = Dataset(
        p,
        manifest=manifest,
        statistics=statistics,
        mel=mel,
        tokens=tokens,
        teachers=p.teachers,
        targets=targets,
        features=features,
    )
    # Heads are drawn here, in the order of the selection; all else comes from the checkpoint or from where the warm-up began.
    torch.manual_seed(generator(int(seed), "heads").initial_seed())
    backbone = build(p.model, p.mel.bands, vocabularies(p.tokens, p.domains), noise_scale=p.flow.noise_scale)
    bit_c = BiTC(backbone.width, dataset.teacher_widths())
    term = supervision.build(p, selected(selection), backbone, dataset)
    if p.start == "scratch":
        for mine, first in zip((backbone, bit_c), initial(p, int(seed), codebooks, dataset.teacher_widths()), strict=True):
            mine.load_state_dict(first.state_dict())
    if p.frozen_tokens:
        # What has no gradient has no weight decay either: the optimiser passes it over.
        backbone.tokens.requires_grad_(False)
    objective = Objective(p.training, backbone, bit_c, term)
    checkpoint_in = warmup[0] if warmup else None
    begin = checkpoints.meta(checkpoint_in)["step"] if checkpoint_in else 0
    stop = p.training.warmup_steps + p.training.arm_steps
    trainer = Trainer(p, objective, dataset, arm, int(seed), begin, stop, checkpoint_in, state)
    if term is not None:

        def drawn(batch: Batch, step: int) -> Draw:
            # Streams are drawn on the CPU, wherever the batch has gone since.
            return draw(p, batch.to(torch.device("cpu")), int(seed), step).to(batch.mel.device)

        term.course = Course(int(seed), trainer.frozen, drawn)
    trainer.fit(None if term is None else term.observe)
    trainer.finish(checkpoint, log, validation)
