"""Target: a deeper layer of the model's moving average, which sees the clip with less noise (SRA, arXiv 2505.02831).

Layer k at t looks at layer k + round(3 n / 7) of the average, at most the last, at t' = min(1, t + u) with u uniform on
(0, 0.2): the gap from 8 to 20 in a model of 28, which gives 4 -> 9 of 12 and 8 -> 18 of 24. Both see the same noise, reference
and dropped tokens. The average is the one that is evaluated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agrepa.alignment.deeper import deeper
from agrepa.flow.path import interpolate
from agrepa.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.alignment.protocols import Course
    from agrepa.data.collate import Batch
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone

AHEAD = 0.2  # by how much t' is at most nearer to the clip than t


def partner(layer: int, depth: int) -> int:
    """The average's layer that ``layer`` is to agree with, in a model of ``depth`` layers (see ``deeper``)."""
    return deeper(layer, depth, round(3 * depth / 7))


class Average:
    """h of the average's partner layer at mel frames, ``[B_d, T, D]``."""

    framewise = True

    def __init__(self, depth: int, width: int) -> None:
        self.depth, self.channels = depth, width
        self.states: dict[int, Tensor] = {}

    def width(self, domain: str, layer: int) -> int:
        partner(layer, self.depth)
        return self.channels

    @torch.no_grad()
    def look(self, batch: Batch, step: int, course: Course) -> None:
        """Run the average on the step's own draw, at the later times."""
        drawn = course.drawn(batch, step)
        ahead = [torch.rand((), generator=generator(course.seed, "ahead", step, clip)) for clip in batch.ids]
        t = (drawn.t + AHEAD * torch.stack(ahead).to(drawn.t.device)).clamp(max=1.0)
        self.states = {}
        course.average()(interpolate(batch.mel, drawn.eps, t), t, drawn.condition, batch.mask, states=self.states)

    def of(self, batch: Batch, states: dict[int, Tensor], domain: str, layer: int, chosen: Tensor) -> Tensor:
        return self.states[partner(layer, self.depth)][chosen]


def build(backbone: Backbone, dataset: Dataset) -> Average:
    """The layers of this backbone's average."""
    return Average(backbone.depth, backbone.width)
