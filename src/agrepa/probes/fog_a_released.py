"""FoG-A as the paper's released code takes it (github.com/zpforlove/AG-REPA at commit 8c1371a), to be held against ``fog_a``.

It feeds the clean spectrogram as x_t, where Eq. 8 has a point of the path, at one t of 0.8; leaves the network in train mode, so
that the two velocities of a difference have different dropouts; looks at one clip a domain; and reaches every other layer alone,
since it probes in steps that are multiples of 200 and an even step only probes layers that are even from 0. How many clips and
which t is ``probes.fog_a_released`` of the params; the rest is here.

What is as in every probe of this project: held-out clips, the moving average of the warm-up, padding left out, and where the
model is preconditioned the denominator of ``probes.fog_a``. Dropout is that of ``model.dropout``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agrepa.data.dataset import Dataset
from agrepa.job import In, Out, Wildcard
from agrepa.model.ablation import fog_a
from agrepa.probes.measurement import Place, Scores, frozen, measure, write
from agrepa.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.params.stages import FogAReleasedSettings

EVERY = 2  # it scores every so many layers from the first: L1, L3, L5, ...


def run(
    p: FogAReleasedSettings,
    *,
    kind: Wildcard,
    seed: Wildcard,
    warmup: In,
    manifest: In,
    statistics: In,
    mel: In,
    tokens: In,
    out: Out,
) -> None:
    """FoG-A of the warm-up checkpoint as the released code takes it: of the clean spectrogram, with dropout, every other layer.

    Dropouts come from a stream of the clips and t, so that the same job gives the same bytes.
    """
    dataset = Dataset(p, manifest=manifest, statistics=statistics, mel=mel, tokens=tokens)
    backbone, probe = frozen(p, warmup).train(), p.probe

    def ablation(place: Place) -> Tensor:
        batch = place.batch
        torch.manual_seed(generator(p.seed, "released probe", *batch.ids, place.time).initial_seed())
        changes = fog_a(backbone, batch.mel, place.t, batch.condition, batch.mask, "l2", p.denominator, whole=True)
        return changes[::EVERY]

    layers = list(range(1, backbone.depth + 1, EVERY))
    measured = measure(p, dataset, probe.clips, probe.times, "FoG-A as released", ablation)
    scores = {domain: Scores(found.values, found.families, layers) for domain, found in measured.items()}
    definition = "relative change of the velocity, l2 norm; the clean spectrogram as x_t, in train mode, every other layer"
    write(out, "fog_a_released", definition, int(seed), probe.times, scores, p.bootstrap, p.seed)
