"""Target: a deeper layer of the model itself, frame by frame and without gradient (LayerSync, arXiv 2510.12581).

Layer k looks at layer k + ceil(2 n / 7), at most the last: the gap from 8 to 16 in a model of 28, which gives 4 -> 8 of 12
and 8 -> 15 of 24.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agrepa.alignment.deeper import deeper

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.data.collate import Batch
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone


def partner(layer: int, depth: int) -> int:
    """The layer that ``layer`` is to agree with, in a model of ``depth`` layers (see ``deeper``)."""
    return deeper(layer, depth, math.ceil(2 * depth / 7))


class Internal:
    """h of the partner layer at mel frames, ``[B_d, T, D]``."""

    framewise = True

    def __init__(self, depth: int, width: int) -> None:
        self.depth, self.channels = depth, width

    def width(self, domain: str, layer: int) -> int:
        partner(layer, self.depth)
        return self.channels

    def of(self, batch: Batch, states: dict[int, Tensor], domain: str, layer: int, chosen: Tensor) -> Tensor:
        return states[partner(layer, self.depth)][chosen].detach()


def build(backbone: Backbone, dataset: Dataset) -> Internal:
    """The layers of this backbone."""
    return Internal(backbone.depth, backbone.width)
