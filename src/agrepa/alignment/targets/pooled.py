"""Target: the teacher's vector of the whole clip, the mean over time of its output (Eq. 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.data.collate import Batch
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone


class Pooled:
    """T(x), ``[B_d, D_T]``."""

    framewise = False

    def __init__(self, widths: dict[str, int]) -> None:
        self.widths = widths

    def width(self, domain: str, layer: int) -> int:
        return self.widths[domain]

    def of(self, batch: Batch, states: dict[int, Tensor], domain: str, layer: int, chosen: Tensor) -> Tensor:
        return batch.teacher_vectors[domain]


def build(backbone: Backbone, dataset: Dataset) -> Pooled:
    """The vectors of the dataset's teachers."""
    return Pooled(dataset.teacher_widths())
