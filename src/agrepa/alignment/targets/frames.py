"""Target: the teacher's frames, brought to the mel frames by their hop times (REPA, Yu et al. 2024, arXiv 2410.06940)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agrepa.errors import ArtifactError
from agrepa.model.conditioning import at_positions

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.data.collate import Batch
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone


class Frames:
    """z at the centre of each mel frame, linear between the teacher's frames, ``[B_d, T, D_T]``."""

    framewise = True

    def __init__(self, widths: dict[str, int]) -> None:
        self.widths = widths

    def width(self, domain: str, layer: int) -> int:
        return self.widths[domain]

    def of(self, batch: Batch, states: dict[int, Tensor], domain: str, layer: int, chosen: Tensor) -> Tensor:
        frames = batch.teacher_frames[domain]
        return at_positions(frames.values, frames.positions)


def build(backbone: Backbone, dataset: Dataset) -> Frames:
    """The frames of the dataset's teachers.

    Raises ArtifactError when the dataset was opened without them.
    """
    if not dataset.teacher_frames:
        raise ArtifactError("target 'frames' needs the teachers' frames and the job was given none: pass it their indexes")
    return Frames(dataset.teacher_frame_widths())
