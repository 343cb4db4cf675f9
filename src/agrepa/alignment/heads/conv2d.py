"""Head: one convolution in two dimensions behind a spatial normalisation, as iREPA's (arXiv 2512.10794, the paper's Table 11).

An image has two axes beside its channels and a sequence has one. The second one here is the channels themselves, cut into parts
that lie side by side: D channels at T frames are D / 4 channels on a grid of T x 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from agrepa.alignment.normalisation import standardised
from agrepa.alignment.protocols import Head
from agrepa.errors import ParamsError

if TYPE_CHECKING:
    from agrepa.params.model import Model

PARTS = 4


class Conv2d(Head):
    """3 x 3, stride 1, no activation; beyond a clip's ends and the first and last part there are zeros.

    The target's channels are cut into as many parts; what the last one has too many is left out.
    """

    temporal = True

    def __init__(self, width: int, target_width: int) -> None:
        super().__init__()
        self.target_width = target_width
        self.conv = nn.Conv2d(width // PARTS, -(-target_width // PARTS), 3, padding=1)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        grid = standardised(h, mask).unflatten(-1, (PARTS, -1))  # [B, T, parts, D / parts]
        made = self.conv(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return made.flatten(2)[..., : self.target_width]


def build(settings: Model, width: int, target_width: int) -> Conv2d:
    """A convolution from the model's channels straight to the target's.

    Raises ParamsError when the channels cannot be cut.
    """
    if width % PARTS:
        raise ParamsError(f"head 'conv2d' cuts the channels into {PARTS} and the model has {width}: change model.width")
    return Conv2d(width, target_width)
