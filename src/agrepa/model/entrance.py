"""The way into a backbone, the same before every trunk: token interface, front, input projection, positions, a local view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agrepa.model.backbone import Backbone
from agrepa.model.conditioning import Condition, TimeEmbedding, TokenEmbedding, sinusoid
from agrepa.model.front import Front

if TYPE_CHECKING:
    from agrepa.params.model import Model


class Entrance(Backbone):
    """A backbone that begins at mel frames with x_t, the tokens and the reference; its trunk is the subclass's.

    Args:
        settings: sizes.
        bands: M, mel bands.
        vocabularies: size of each token stream.
    """

    def __init__(self, settings: Model, bands: int, vocabularies: list[int]) -> None:
        super().__init__()
        width = settings.width
        self.depth, self.width = settings.depth, width
        self.rotary = settings.positions == "rotary"
        self.tokens = TokenEmbedding(vocabularies, settings.token_width, width)
        self.front = Front(settings.front, width)
        self.time = TimeEmbedding(width)
        self.proj_in = nn.Linear(2 * bands + width, width)
        self.local = self.position_branch(settings)

    def position_branch(self, settings: Model) -> nn.Module:
        """What ``around`` reads the surroundings of a frame with: a depthwise convolution."""
        return nn.Conv1d(
            settings.width, settings.width, settings.conv_kernel, padding=settings.conv_kernel // 2, groups=settings.width
        )

    def around(self, h: Tensor, valid: Tensor) -> Tensor:
        """What the surroundings of each frame add to h ``[B, T, D]``, zeros at padding; valid ``[B, T, 1]``."""
        return F.gelu(self.local(h.transpose(1, 2)).transpose(1, 2))

    def interface(self, condition: Condition, mask: Tensor) -> Tensor:
        """The token interface behind the front, ``[B, T, D]``."""
        return self.front(self.tokens(condition), mask)

    def embed(self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Everything before the trunk.

        Args:
            x: x_t ``[B, T, M]``.
            t: ``[B]``.
            mask: True at valid frames ``[B, T]``.

        Returns:
            h_0 ``[B, T, D]``, the time condition c ``[B, D]``, and the token interface ``[B, T, D]``.
        """
        interface = self.interface(condition, mask)
        h = self.proj_in(torch.cat([x, interface, condition.reference], -1))
        if not self.rotary:
            h = h + sinusoid(torch.arange(x.shape[1], device=x.device), self.width).to(h.dtype)
        valid = mask.unsqueeze(-1)
        h = h * valid
        h = (h + self.around(h, valid)) * valid
        return h, self.time(t), interface
