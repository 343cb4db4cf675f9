"""Synthesis: tokens -> mel by guided sampling from noise -> waveform, for the evaluation lists of both domains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import torch
from torch import Tensor

from agrepa.audio import files, vocoder
from agrepa.device import device
from agrepa.domains import DOMAINS
from agrepa.flow.sampler import euler, guide, time_grid
from agrepa.model.dit import DiT
from agrepa.progress import track
from agrepa.tokens.sequence import vocabularies
from agrepa.training import checkpoint as checkpoints
from agrepa.training.batches import Batch, Clips, Sources, clip_noise
from agrepa.training.objective import Objective

if TYPE_CHECKING:
    from agrepa.params import Experiment


@torch.no_grad()
def sample(model: DiT, batch: Batch, start: Tensor, steps: int, guidance: float, sway: float) -> Tensor:
    """Normalised mel ``[B, T, M]`` from noise ``start``, conditioned on the batch's tokens, with no reference."""
    without = batch.condition.without()

    def field(x: Tensor, t: Tensor) -> Tensor:
        times = t.to(x.device).expand(len(batch.ids))
        conditional = model(x, times, batch.condition, batch.mask)
        return guide(conditional, model(x, times, without, batch.mask), guidance)

    return euler(field, start, time_grid(steps, sway))


def foreign_tokens(ids: list[str], lengths: dict[str, int]) -> dict[str, str]:
    """Every clip -> the clip next in length (the last two swap roles in odd lists): a permutation that fixes no clip."""
    ordered = sorted(ids, key=lambda clip: (lengths[clip], clip))
    return dict(zip(ordered, ordered[1:] + ordered[:1], strict=True))


def run(
    p: Experiment, row: str, seed: str, checkpoint: Path, archives: list[Path], out: Path, **sources: Unpack[Sources]
) -> None:
    """Synthesise an arm's evaluation clips; row "control" conditions every clip on another clip's tokens.

    Noise is fixed for each (seed, clip): all arms start from the same noise.
    """
    clips = Clips(p, sources)
    objective = Objective(p, p.mel.bands, vocabularies(p.tokens), clips.teacher_widths())
    where = device(p.training.accelerator)
    checkpoints.load_average(checkpoint, objective)
    model = objective.dit.to(where)
    settings = p.evaluation
    sound = vocoder.load(settings.vocoder, p.mel, p.corpora.sample_rate, settings.griffin_lim_iterations, archives)
    out.mkdir(parents=True, exist_ok=True)
    for domain in DOMAINS:
        ids = clips.first(settings.split, domain, getattr(settings, f"{domain}_clips"))
        tokens_of = foreign_tokens(ids, clips.mel.frames) if row == "control" else None
        batches = list(clips.in_batches(ids, 2 * p.training.batch_frames, tokens_of))
        for batch in track(batches, f"{row} {domain}", unit="batch"):
            batch = batch.to(where)
            scale = p.flow.noise_scale * settings.sampling.temperature
            start = clip_noise(batch, scale, int(seed), "synthesis")
            mel = sample(model, batch, start, settings.sampling.steps, settings.sampling.guidance, settings.sampling.sway)
            for clip, frames, valid in zip(batch.ids, mel, batch.mask, strict=True):
                wave = sound(frames[valid].cpu() * clips.std + clips.mean)
                files.write_flac(out / f"{clip}.flac", wave, p.corpora.sample_rate)
