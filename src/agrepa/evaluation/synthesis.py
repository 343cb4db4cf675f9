"""Synthesis: tokens -> mel by guided sampling from noise -> waveform, for the evaluation lists of both domains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agrepa.audio import files, vocoders
from agrepa.data.dataset import Dataset
from agrepa.data.noise import clip_noise
from agrepa.device import device
from agrepa.evaluation.rows import CONTROLS
from agrepa.flow.sampler import euler, guide, time_grid
from agrepa.job import In, Ins, Out, Wildcard
from agrepa.model.backbone import build
from agrepa.progress import track
from agrepa.tokens.sequence import vocabularies
from agrepa.training.checkpoint import load_average

if TYPE_CHECKING:
    from agrepa.data.collate import Batch
    from agrepa.model.backbone import Backbone
    from agrepa.params.evaluation import Sampling
    from agrepa.params.stages import SynthesizeSettings

PREFIX = "backbone."  # of the velocity network's parameters in a checkpoint


@torch.no_grad()
def sample(model: Backbone, batch: Batch, start: Tensor, settings: Sampling) -> Tensor:
    """Normalised mel ``[B, T, M]`` from noise ``start``, conditioned on the batch's tokens, with no reference."""
    without = batch.condition.without()

    def field(x: Tensor, t: Tensor) -> Tensor:
        times = t.to(x.device).expand(len(batch.ids))
        conditional = model(x, times, batch.condition, batch.mask)
        return guide(conditional, model(x, times, without, batch.mask), settings.guidance)

    return euler(field, start, time_grid(settings.steps, settings.sway))


def foreign_tokens(ids: list[str], lengths: dict[str, int]) -> dict[str, str]:
    """Every clip -> the clip next in length (the last two swap roles in odd lists): a permutation that fixes no clip."""
    ordered = sorted(ids, key=lambda clip: (lengths[clip], clip))
    return dict(zip(ordered, ordered[1:] + ordered[:1], strict=True))


def run(
    p: SynthesizeSettings,
    *,
    row: Wildcard,
    seed: Wildcard,
    checkpoint: In,
    manifest: In,
    statistics: In,
    mel: In,
    tokens: In,
    archives: Ins,
    out: Out,
) -> None:
    """Audio of an arm, or of the control, from the tokens of the evaluated clips.

    Noise is fixed for each (seed, clip): all arms start from the same noise. The control conditions every clip on another
    clip's tokens.
    """
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens)
    where = device(p.training.accelerator)
    backbone = build(p.model, p.mel.bands, vocabularies(p.tokens), noise_scale=p.flow.noise_scale)
    model = load_average(checkpoint, backbone, PREFIX).to(where)
    sound = vocoders.load(p.vocoder, p.mel, p.sample_rate, archives)
    scale = p.flow.noise_scale * p.sampling.temperature
    out.mkdir()
    for domain, count in {"speech": p.speech_clips, "audio": p.audio_clips}.items():
        ids = dataset.first(p.split, domain, count)
        tokens_of = foreign_tokens(ids, dataset.mel.frames) if row in CONTROLS else None
        batches = list(dataset.in_batches(ids, 2 * p.training.batch_frames, tokens_of))
        for batch in track(batches, f"{row} {domain}", unit="batch"):
            batch = batch.to(where)
            start = clip_noise(batch, scale, int(seed), "synthesis")
            mels = sample(model, batch, start, p.sampling)
            for clip, frames, valid in zip(batch.ids, mels, batch.mask, strict=True):
                wave = sound(dataset.log_mel(frames[valid].cpu()))
                files.write_flac(out / f"{clip}.flac", wave, p.sample_rate)
