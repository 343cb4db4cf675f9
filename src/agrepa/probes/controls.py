"""What FoG-A is held against: how large a layer's update is, what its mean alone would do, and how deep the layer lies.

Switching a layer off takes it to where the network never was. Mean-ablation keeps the average of what it adds, and so asks what
the layer says of this frame. Where the ranks of all three agree, FoG-A says no more than that the layer's update is large.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from agrepa.probes.measurement import Scores, percentiles, rank_correlation, resamples, summarise

if TYPE_CHECKING:
    from agrepa.model.backbone import Backbone
    from agrepa.model.conditioning import Condition

PAIRS = (
    ("fog_a", "update_size"),
    ("fog_a", "mean_ablation"),
    ("fog_a", "depth"),
    ("update_size", "depth"),
    ("mean_ablation", "depth"),
)


@torch.no_grad()
def update_size(backbone: Backbone, x: Tensor, t: Tensor, condition: Condition, mask: Tensor) -> Tensor:
    """||f_l|| / ||h_l - f_l|| of every layer over the valid frames of each clip, ``[L, B]`` (see ``Backbone.updates``)."""
    valid = mask.unsqueeze(-1)
    pairs = backbone.updates(x, t, condition, mask)
    return torch.stack([(f * valid).norm(dim=(1, 2)) / (base * valid).norm(dim=(1, 2)) for base, f in pairs])


def mean_of_frames(mask: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that puts in place of every frame of f ``[B, T, D]`` the mean over all valid frames of all clips."""

    def replace(f: Tensor) -> Tensor:
        return f[mask].mean(0).expand_as(f)

    return replace


def compare(scores: dict[str, Scores], times: list[float], samples: int, seed: int) -> dict[str, Any]:
    """The controls of one domain, and the rank correlation over layers of each of ``PAIRS``.

    Args:
        scores: FoG-A and the controls by their names in ``PAIRS``, of the same clips at ``times``.

    The interval is a percentile bootstrap over clips, the same samples for all. A correlation is null where there is none: one
    layer alone, or layers that all score the same.
    """
    clips = len(scores["fog_a"].families)
    counts = resamples(clips, samples, seed, "probe bootstrap")
    by_clip = {name: found.values.mean(1) for name, found in scores.items()}
    means = {name: values.mean(1) for name, values in by_clip.items()}
    resampled = {name: values @ counts / clips for name, values in by_clip.items()}
    depth = np.arange(len(means["fog_a"])) + 1.0
    means["depth"], resampled["depth"] = depth, np.repeat(depth[:, None], samples, 1)
    correlations = []
    for first, second in PAIRS:
        within = rank_correlation(resampled[first], resampled[second])
        numbers = [rank_correlation(means[first], means[second]), *np.percentile(within, percentiles(clips))]
        named = zip(("value", "low", "high"), numbers, strict=True)
        correlations.append({"between": [first, second]} | {name: float(v) if np.isfinite(v) else None for name, v in named})
    kept = ("score", "low", "high")
    controls = {name: summarise(found, times, samples, seed) for name, found in scores.items() if name != "fog_a"}
    return {name: {key: found[key] for key in kept} for name, found in controls.items()} | {
        "times": list(times),
        "correlations": correlations,
    }
