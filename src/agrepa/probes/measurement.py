"""What every probe shares: held-out clips on the true path x_t at a grid of t with fixed noise, and the summary of scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import stats
from scipy.stats import rankdata
from torch import Tensor

from agrepa.artifacts.files import write_json
from agrepa.data.noise import clip_noise
from agrepa.device import device
from agrepa.flow.path import interpolate
from agrepa.model.backbone import build
from agrepa.progress import track
from agrepa.seeding import generator
from agrepa.tokens.sequence import vocabularies
from agrepa.training import checkpoint

if TYPE_CHECKING:
    from agrepa.data.collate import Batch
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import ModelSettings

TOP = 3


@dataclass
class Scores:
    """Scores of one domain: values ``[L, times, clips]`` and the cluster (speaker or source) of each clip.

    ``layers`` are the L that were scored, from 1 and rising; all of the model where it is None.
    """

    values: np.ndarray
    families: list[str]
    layers: list[int] | None = None


@dataclass
class Place:
    """Where a probe looks: clips of one domain at one time."""

    domain: str
    time: int
    batch: Batch
    noise: Tensor
    x: Tensor
    t: Tensor


def frozen(p: ModelSettings, warmup: Path) -> Backbone:
    """The moving average's backbone of the warm-up checkpoint, in eval mode."""
    backbone = build(p.model, p.mel.bands, vocabularies(p.tokens, p.domains), noise_scale=p.flow.noise_scale)
    return checkpoint.load_average(warmup, backbone, "backbone.").to(device(p.training.accelerator))


def places(p: ModelSettings, dataset: Dataset, count: int, times: list[float]) -> Iterator[Place]:
    """Every (domain, batch of validation clips, t), with noise fixed for each clip over all t."""
    where = device(p.training.accelerator)
    for domain in dataset.domains:
        for batch in dataset.in_batches(dataset.first("validation", domain, count), 2 * p.training.batch_frames):
            batch = batch.to(where)
            eps = clip_noise(batch, p.flow.noise_scale, p.seed, "probe")
            for index, time in enumerate(times):
                t = torch.full((len(batch.ids),), time, device=where)
                yield Place(domain, index, batch, eps, interpolate(batch.mel, eps, t), t)


def measure(
    p: ModelSettings, dataset: Dataset, count: int, times: list[float], name: str, score: Callable[[Place], Tensor]
) -> dict[str, Scores]:
    """``score`` (of a place, ``[L, B]``) of every layer on ``count`` validation clips a domain over the grid of t."""
    parts: dict[str, list[list[np.ndarray]]] = {domain: [[] for _ in times] for domain in dataset.domains}
    families: dict[str, list[str]] = {domain: [] for domain in dataset.domains}
    for place in track(list(places(p, dataset, count, times)), name, unit="batch"):
        parts[place.domain][place.time].append(score(place).double().cpu().numpy())
        if place.time == 0:
            families[place.domain] += [dataset.table.family[clip] for clip in place.batch.ids]
    return {d: Scores(np.stack([np.concatenate(batches, 1) for batches in parts[d]], 1), families[d]) for d in dataset.domains}


def resamples(clips: int, samples: int, seed: int, name: str) -> np.ndarray:
    """How often each clip stands in each bootstrap sample, ``[clips, samples]``, from the stream ``name``."""
    rng = np.random.default_rng(generator(seed, name).initial_seed())
    return rng.multinomial(clips, np.full(clips, 1 / clips), samples).T


def percentiles(clips: int) -> list[float]:
    """Between which percentiles of a bootstrap over so many clips its 95 % interval lies: 2.5 and 97.5 of very many.

    Of few clips these cover too little: a resample has (n - 1) / n of the variance, and a normal quantile stands where Student's
    belongs. Reading further out makes up for both (the expanded percentile interval of Hesterberg 2015).
    """
    if clips < 2:
        return [2.5, 97.5]  # of one value, which every sample is
    outside = 100 * float(stats.norm.sf(np.sqrt(clips / (clips - 1)) * stats.t.isf(0.025, clips - 1)))
    return [outside, 100 - outside]


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation over layers: ``[L]`` or ``[L, N]`` each -> a number or ``[N]``; NaN where all of one tie."""
    first, second = (ranks - ranks.mean(0) for ranks in (rankdata(a, axis=0), rankdata(b, axis=0)))
    with np.errstate(invalid="ignore"):
        found: np.ndarray = (first * second).sum(0) / np.sqrt((first**2).sum(0) * (second**2).sum(0))
    return found


def summarise(scores: Scores, times: list[float], samples: int, seed: int) -> dict[str, Any]:
    """Mean over clips and times of each layer, with a percentile bootstrap over clips and the stability of its rank.

    Clips are resampled, not speakers: a validation split has too few speakers for that, which the result says.
    """
    values = scores.values
    count, _, n = values.shape
    layers = list(range(1, count + 1)) if scores.layers is None else scores.layers
    by_clip = values.mean(1)
    resampled = by_clip @ resamples(n, samples, seed, "probe bootstrap") / n
    low, high = np.percentile(resampled, percentiles(n), axis=1)
    mean = by_clip.mean(1)
    ranks = rankdata(-resampled, axis=0, method="ordinal")
    return {
        "layers": layers,
        "times": list(times),
        "score": mean.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "by_time": values.mean(2).tolist(),
        "clips": n,
        "families": len(set(scores.families)),
        "ranking": [layers[i] for i in np.argsort(-mean, kind="stable")],
        "top_k_stability": (ranks <= TOP).mean(1).tolist(),
    }


def write(
    out: Path,
    probe: str,
    definition: str,
    replication: int,
    times: list[float],
    scores: dict[str, Scores],
    samples: int,
    seed: int,
    more: dict[str, dict[str, Any]] | None = None,
) -> None:
    """The artifact of a probe: what it measures, and the summary of each domain, with ``more`` of each.

    Args:
        replication: the seed of the warm-up that was probed.
        seed: of the bootstrap over clips.
    """
    domains = {domain: summarise(found, times, samples, seed) | (more or {}).get(domain, {}) for domain, found in scores.items()}
    write_json(out, {"probe": probe, "seed": replication, "definition": definition, "domains": domains})
