"""Target: the teacher's frames less a part of their clip's mean, over their deviation (iREPA, arXiv 2512.10794).

z~ = (z - a mean_T z) / (std_T z + e) in each channel, over all frames of the clip at the teacher's rate, before they are brought
to the mel frames. What all frames of a clip share says nothing of where something is; a = 1 would take all of it away, and that
is the whole of a pooled target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agrepa.alignment.normalisation import standardised
from agrepa.alignment.targets import frames
from agrepa.model.conditioning import at_positions

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.data.collate import Batch
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone


class FramesStandardised(frames.Frames):
    """z~ at the centre of each mel frame, ``[B_d, T, D_T]``."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset.teacher_frame_widths())
        self.stored = {domain: feature.frames for domain, feature in dataset.teacher_frames.items()}

    def of(self, batch: Batch, states: dict[int, Tensor], domain: str, layer: int, chosen: Tensor) -> Tensor:
        found = batch.teacher_frames[domain]
        ids = [clip for clip, mine in zip(batch.ids, chosen.tolist(), strict=True) if mine]
        lengths = torch.tensor([self.stored[domain][clip] for clip in ids], device=found.values.device)
        mask = torch.arange(found.values.shape[1], device=lengths.device) < lengths[:, None]
        return at_positions(standardised(found.values, mask), found.positions)


def build(backbone: Backbone, dataset: Dataset) -> FramesStandardised:
    """The frames of the dataset's teachers.

    Raises ArtifactError when the dataset was opened without them.
    """
    frames.build(backbone, dataset)
    return FramesStandardised(dataset)
