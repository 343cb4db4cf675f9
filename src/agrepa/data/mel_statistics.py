"""The mel-statistics stage: mean and standard deviation of the log-mel values of the training split, band by band or of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agrepa.artifacts.features import FeatureStore
from agrepa.artifacts.files import write_json
from agrepa.corpora import manifest as manifests
from agrepa.errors import ArtifactError
from agrepa.job import In, Out

if TYPE_CHECKING:
    from agrepa.params.stages import MelStatisticsSettings

LEAST = 0.1  # a band's deviation, as a part of that of all values: a band that hardly leaves the floor must not be blown up


def run(p: MelStatisticsSettings, *, manifest: In, mel: In, out: Out) -> None:
    """Mean and standard deviation of the training split's log-mel values.

    Writes {mean, std, frames, clips}, both domains together; mean and std are lists of one number a band, all of them the same
    with ``statistics: global``.

    Clips are merged in manifest order by Chan, Golub and LeVeque's update (1983), in double precision, so that neither the
    number of shards nor the size of the corpus matters.

    Raises ArtifactError when the training split is empty, a clip has no mel, or all values are equal.
    """
    table = manifests.read(manifest)
    ids = table.id[table.split == "train"].tolist()
    if not ids:
        raise ArtifactError(f"{manifest} has no clip in the training split: raise corpora.train")
    store = FeatureStore([mel]).feature("mel", "mel")
    frames = 0
    mean = squares = torch.zeros(store[ids[0]].shape[1], dtype=torch.float64)
    for clip in ids:
        values = store[clip].double()
        deviation, total = values.mean(0) - mean, frames + len(values)
        squares = squares + (values - values.mean(0)).square().sum(0) + deviation.square() * (frames * len(values) / total)
        mean, frames = mean + deviation * (len(values) / total), total
    centre = mean.mean()
    variance = squares / frames
    whole = (variance + (mean - centre).square()).mean().sqrt()
    if whole == 0:
        raise ArtifactError(f"{mel}: all mel values of the training split are {float(centre)}: the clips are silent")
    if p.statistics == "global":
        mean, std = centre.expand_as(mean), whole.expand_as(mean)
    else:
        std = variance.sqrt().clamp(min=LEAST * whole)
    write_json(out, {"mean": mean.tolist(), "std": std.tolist(), "frames": frames, "clips": len(ids)})
