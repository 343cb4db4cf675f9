"""Phase II: train one arm from the warm-up checkpoint with the layers and weights of its selection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import torch

from agrepa.artifacts import read_json
from agrepa.flow.path import generator
from agrepa.tokens.sequence import vocabularies
from agrepa.training import checkpoint as checkpoints
from agrepa.training.batches import Clips, Sources
from agrepa.training.loop import Run
from agrepa.training.objective import Objective

if TYPE_CHECKING:
    from agrepa.params import Experiment


def selected(selection: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Domain -> (layers from 1, weights) of a selection.json; domains without layers are left out."""
    domains = read_json(selection)["domains"]
    return {domain: (entry["layers"], entry["weights"]) for domain, entry in domains.items() if entry["layers"]}


def run(
    p: Experiment,
    arm: str,
    seed: str,
    warmup: Path,
    selection: Path,
    state: Path,
    checkpoint: Path,
    log: Path,
    **sources: Unpack[Sources],
) -> None:
    """Train ``arm_steps`` steps. Every arm sees the same data in the same order, with the same noise and dropouts."""
    clips = Clips(p, sources)
    start = checkpoints.meta(warmup)["step"]
    torch.manual_seed(generator(int(seed), "heads").initial_seed())
    objective = Objective(p, p.mel.bands, vocabularies(p.tokens), clips.teacher_widths(), selected(selection))
    training = Run(p, objective, clips, arm, int(seed), start, start + p.training.arm_steps, warmup, state, p.fingerprint)
    training.fit()
    training.finish(checkpoint, log)
