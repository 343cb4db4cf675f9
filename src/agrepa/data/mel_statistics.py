"""The mel-statistics stage: one mean and one standard deviation over all log-mel values of the training split."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agrepa.artifacts.features import FeatureStore
from agrepa.artifacts.files import write_json
from agrepa.corpora import manifest as manifests
from agrepa.errors import ArtifactError
from agrepa.job import In, Out

if TYPE_CHECKING:
    from agrepa.params.stages import Settings


def run(p: Settings, *, manifest: In, mel: In, out: Out) -> None:
    """Mean and standard deviation of the training split's log-mel values.

    Writes {mean, std, frames, clips}, both domains together.

    Clips are merged in manifest order by Chan, Golub and LeVeque's update (1983), in double precision, so that neither the
    number of shards nor the size of the corpus matters.

    Raises ArtifactError when the training split is empty, a clip has no mel, or all values are equal.
    """
    table = manifests.read(manifest)
    ids = table.id[table.split == "train"].tolist()
    if not ids:
        raise ArtifactError(f"{manifest} has no clip in the training split: raise corpora.train")
    store = FeatureStore([mel]).feature("mel", "mel")
    count = frames = 0
    mean = squares = 0.0
    for clip in ids:
        values = store[clip].double()
        deviation, total = float(values.mean()) - mean, count + values.numel()
        squares += float((values - values.mean()).square().sum()) + deviation**2 * count * values.numel() / total
        mean += deviation * values.numel() / total
        count, frames = total, frames + len(values)
    if squares == 0:
        raise ArtifactError(f"{mel}: all mel values of the training split are {mean}: the clips are silent")
    write_json(out, {"mean": mean, "std": math.sqrt(squares / count), "frames": frames, "clips": len(ids)})
