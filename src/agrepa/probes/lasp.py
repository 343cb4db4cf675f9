"""LASP: what a layer knows. cos(P(norm(pool_t h_l)), T(x)) with one frozen projection P, the BiT-C head (Eq. 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from agrepa.alignment.bit_c import BiTC
from agrepa.data.dataset import Dataset
from agrepa.device import device
from agrepa.job import In, Ins, Out, Wildcard
from agrepa.model.backbone import pool
from agrepa.probes.measurement import TOP, Place, Scores, frozen, measure, percentiles, resamples, write
from agrepa.training.checkpoint import load_average

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import LaspSettings


@torch.no_grad()
def lasp(backbone: Backbone, bit_c: BiTC, place: Place, teacher: Tensor | None = None) -> Tensor:
    """LASP of every layer on the clips of one place (of one domain), ``[L, B]``.

    Args:
        teacher: vectors ``[B, D_T]`` to compare with instead of the clips' own.
    """
    states: dict[int, Tensor] = {}
    batch = place.batch
    backbone(place.x, place.t, batch.condition, batch.mask, states=states)
    teacher = batch.teacher_vectors[place.domain] if teacher is None else teacher
    return torch.stack(
        [bit_c.score(pool(states[layer], batch.mask), teacher, place.domain) for layer in range(1, backbone.depth + 1)]
    )


def floors(scores: Scores, shuffled: Scores, constant: np.ndarray, samples: int, seed: int) -> dict[str, Any]:
    """What a layer that knows nothing of a clip would score, and which layers score more.

    Args:
        shuffled: LASP against another clip's teacher vector.
        constant: ``[clips]`` cosine of the mean teacher vector of training with each clip's.

    A layer clears its floors when the 95 % interval of the paired difference to the higher one, a bootstrap over clips, is
    above 0. The ranking stands where its best three layers do.
    """
    own, other = scores.values.mean(1), shuffled.values.mean(1)
    clips = own.shape[1]
    weights = resamples(clips, samples, seed, "floor bootstrap") / clips
    above = np.minimum((own - other) @ weights, (own - constant) @ weights)
    clears = np.percentile(above, percentiles(clips)[0], axis=1) > 0
    best = np.argsort(-own.mean(1), kind="stable")[:TOP]
    return {
        "constant": float(constant.mean()),
        "shuffled": other.mean(1).tolist(),
        "clears": clears.tolist(),
        "ranked": bool(clears[best].all()),
    }


def run(
    p: LaspSettings,
    *,
    kind: Wildcard,
    seed: Wildcard,
    warmup: In,
    manifest: In,
    statistics: In,
    mel: In,
    tokens: In,
    targets: Ins,
    out: Out,
) -> None:
    """LASP of the frozen warm-up checkpoint: Cos-SEM on speech clips, Cos-EVT on audio clips."""
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens, teachers=p.teachers, targets=targets)
    backbone, probe = frozen(p, warmup), p.probe
    bit_c = load_average(warmup, BiTC(backbone.width, dataset.teacher_widths()), "bit_c.")
    bit_c = bit_c.to(device(p.training.accelerator))

    ids = {domain: dataset.first("validation", domain, probe.clips) for domain in dataset.domains}
    # A cyclic shift, so that no clip keeps its own vector however clips are batched.
    other = {clip: clips[(i + 1) % len(clips)] for clips in ids.values() for i, clip in enumerate(clips)}
    constant: dict[str, dict[str, float]] = {domain: {} for domain in dataset.domains}

    def own(place: Place) -> Tensor:
        if place.time == 0:
            mean = dataset.teacher_mean(place.domain).to(place.x.device)
            found = F.cosine_similarity(mean.expand_as(teacher := place.batch.teacher_vectors[place.domain]), teacher, dim=-1)
            constant[place.domain] |= dict(zip(place.batch.ids, found.tolist(), strict=True))
        return lasp(backbone, bit_c, place)

    def foreign(place: Place) -> Tensor:
        vectors = dataset.batch([other[clip] for clip in place.batch.ids]).teacher_vectors[place.domain]
        return lasp(backbone, bit_c, place, vectors.to(place.x.device))

    scores = measure(p, dataset, probe.clips, probe.times, "LASP", own)
    shuffled = measure(p, dataset, probe.clips, probe.times, "LASP, shuffled", foreign)
    more = {
        domain: {
            "floors": floors(scores[domain], shuffled[domain], np.array(list(constant[domain].values())), p.bootstrap, p.seed)
        }
        for domain in dataset.domains
    }
    definition = "cosine of the projected layer and the teacher, frozen BiT-C projection"
    write(out, "lasp", definition, int(seed), probe.times, scores, p.bootstrap, p.seed, more)
