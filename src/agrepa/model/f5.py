"""The network of F5-TTS (Chen et al. 2024, arXiv 2410.06885) on frame-aligned tokens: a DiT with another way in.

Its trunk is that of ``agrepa.model.dit``. Three things differ before the first block: the front is part of the network and has
a block at least; it sees each frame's place as a sinusoid; and the position branch is two grouped convolutions in place of a
depthwise one. F5-TTS gives its front characters that are not aligned; here the tokens lie at their frames as in every backbone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from agrepa.model.conditioning import Condition, sinusoid
from agrepa.model.dit import DiT

if TYPE_CHECKING:
    from agrepa.params.model import Model

PAPER = "F5-TTS"  # the backbone of the paper that this one stands for
LEAST = {"front.blocks": 1}
GROUPS = 16  # of the position branch; as many as divide the width where 16 do not


class Positions(nn.Module):
    """Mish(conv(Mish(conv(h)))) with grouped convolutions that see no padding."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=math.gcd(GROUPS, width)) for _ in range(2)
        )

    def forward(self, h: Tensor, valid: Tensor) -> Tensor:
        """h ``[B, T, D]``, valid ``[B, T, 1]`` -> ``[B, T, D]``, zeros at padding."""
        for convolution in self.convolutions:
            h = nn.functional.mish(convolution((h * valid).transpose(1, 2)).transpose(1, 2))
        return h * valid


class F5(DiT):
    """A DiT whose tokens and positions go in as in F5-TTS."""

    def position_branch(self, settings: Model) -> nn.Module:
        return Positions(settings.width, settings.conv_kernel)

    def around(self, h: Tensor, valid: Tensor) -> Tensor:
        return self.local(h, valid)

    def interface(self, condition: Condition, mask: Tensor) -> Tensor:
        tokens = self.tokens(condition)
        places = sinusoid(torch.arange(mask.shape[1], device=mask.device), self.width).to(tokens.dtype)
        return self.front(tokens + places, mask)


def build(settings: Model, bands: int, vocabularies: list[int]) -> F5:
    """The network of these sizes; see ``agrepa.model.backbone.build``."""
    return F5(settings, bands, vocabularies)
