"""Target: the mean over time of a deeper layer of the model itself, without gradient (the paper's Table 12).

It stands where the teacher's vector stands in Eq. 12, and is of the layer that ``internal`` looks at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agrepa.alignment.targets.internal import Internal
from agrepa.model.backbone import pool

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.data.collate import Batch
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone


class InternalPooled(Internal):
    """The pooled h of the partner layer, ``[B_d, D]``."""

    framewise = False

    def of(self, batch: Batch, states: dict[int, Tensor], domain: str, layer: int, chosen: Tensor) -> Tensor:
        return pool(super().of(batch, states, domain, layer, chosen), batch.mask[chosen])


def build(backbone: Backbone, dataset: Dataset) -> InternalPooled:
    """The layers of this backbone."""
    return InternalPooled(backbone.depth, backbone.width)
