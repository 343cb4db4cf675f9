"""Synthesis: tokens -> mel by guided sampling from noise -> waveform, for the evaluation lists of both domains."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agrepa.audio import files, vocoders
from agrepa.corpora import manifest as manifests
from agrepa.data.dataset import Dataset
from agrepa.data.noise import clip_noise
from agrepa.device import device
from agrepa.evaluation import prompts
from agrepa.evaluation.rows import CONTROLS
from agrepa.flow.sampler import euler, guide, time_grid
from agrepa.job import In, Ins, Out, Wildcard
from agrepa.model.backbone import build
from agrepa.progress import track
from agrepa.tokens.sequence import vocabularies
from agrepa.training.checkpoint import load_average

if TYPE_CHECKING:
    from agrepa.data.collate import Batch
    from agrepa.data.example import Prompt
    from agrepa.model.backbone import Backbone
    from agrepa.params.evaluation import Sampling
    from agrepa.params.stages import SynthesizeSettings

PREFIX = "backbone."  # of the velocity network's parameters in a checkpoint


@torch.no_grad()
def sample(model: Backbone, batch: Batch, start: Tensor, settings: Sampling) -> Tensor:
    """Normalised mel ``[B, T, M]`` from noise ``start``, conditioned on the batch's tokens and references.

    Guidance is by the tokens alone: the unconditional branch has the references as well.
    """
    without = batch.condition.without_tokens()

    def field(x: Tensor, t: Tensor) -> Tensor:
        times = t.to(x.device).expand(len(batch.ids))
        conditional = model(x, times, batch.condition, batch.mask)
        return guide(conditional, model(x, times, without, batch.mask), settings.guidance)

    return euler(field, start, time_grid(settings.steps, settings.sway))


def foreign_tokens(ids: list[str], lengths: dict[str, int]) -> dict[str, str]:
    """Every clip -> the next longer one, or the next by id of those as long; the longest -> the shortest.

    A cyclic shift of the list in order of length: where there are two clips or more, none keeps its own tokens. The longest,
    whose tokens end before it does, is given the last of them to its end.
    """
    ordered = sorted(ids, key=lambda clip: (lengths[clip], clip))
    return dict(zip(ordered, ordered[1:] + ordered[:1], strict=True))


def prompts_of(p: SynthesizeSettings, dataset: Dataset, ids: list[str], row: str) -> dict[str, Prompt]:
    """The prompts of utterances, none where the params want none; says how many go without."""
    if p.prompt is None:
        return {}
    frames = dataset.mel.frames
    found = prompts.choose(dataset.table, frames, ids, round(p.prompt.seconds * p.sample_rate / p.mel.hop))
    if without := len(ids) - len(found):
        print(
            f"{row}: {without} of {len(ids)} utterances have no prompt: their speakers say nothing else",
            file=sys.stderr,
        )
    return found


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
    clip's tokens. A clip with a prompt is made behind it, and only what follows the prompt is kept.
    """
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens)
    where = device(p.training.accelerator)
    backbone = build(p.model, p.mel.bands, vocabularies(p.tokens, p.domains), noise_scale=p.flow.noise_scale)
    model = load_average(checkpoint, backbone, PREFIX).to(where)
    sound = vocoders.load(p.vocoder, p.mel, p.sample_rate, archives)
    scale = p.flow.noise_scale * p.sampling.temperature
    # n points on [0, 1] have n - 1 steps between them.
    sampling = p.sampling.model_copy(update={"steps": p.sampling.steps - p.sampling_points})
    out.mkdir()
    lists = manifests.evaluation_lists(dataset.table, p.split, p.speech_clips, p.unseen_clips, p.audio_clips)
    for name, ids in lists.items():
        tokens_of = foreign_tokens(ids, dataset.mel.frames) if row in CONTROLS else None
        given = prompts_of(p, dataset, ids, f"{row} {name}") if name != "audio" else {}
        batches = list(dataset.in_batches(ids, 2 * p.training.batch_frames, tokens_of, given))
        for batch in track(batches, f"{row} {name}", unit="batch"):
            batch = batch.to(where)
            start = clip_noise(batch, scale, int(seed), "synthesis")
            mels = sample(model, batch, start, sampling)
            for clip, frames, valid in zip(batch.ids, mels, batch.mask, strict=True):
                made = frames[valid][given[clip][1] :] if clip in given else frames[valid]
                wave = sound(dataset.log_mel(made.cpu()))
                files.write_flac(out / f"{clip}.flac", wave, p.sample_rate)
