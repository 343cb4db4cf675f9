"""Head: one convolution over time, the 1-D counterpart of iREPA's (arXiv 2512.10794)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from agrepa.alignment.protocols import Head

if TYPE_CHECKING:
    from agrepa.params.model import Model


class Conv(Head):
    """k = 3, stride 1, no activation. Padded frames are zeros to it, as everything beyond a clip's ends."""

    temporal = True

    def __init__(self, width: int, target_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, target_width, 3, padding=1)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        return self.conv((h * mask.unsqueeze(-1)).transpose(1, 2)).transpose(1, 2)


def build(settings: Model, width: int, target_width: int) -> Conv:
    """A convolution from the model's channels straight to the target's."""
    return Conv(width, target_width)
