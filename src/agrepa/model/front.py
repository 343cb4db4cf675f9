"""A convolutional front on the token interface: ConvNeXt V2 blocks at mel frames, as F5-TTS has them on its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from agrepa.params.model import Front as Settings

EPSILON = 1e-6


class ConvNeXt(nn.Module):
    """h + W_2 GRN(GELU(W_1 LN(conv(h)))) with a depthwise convolution (Woo et al. 2023, arXiv 2301.00808).

    GRN, global response normalisation, is taken over the valid frames of each clip and starts as the identity.
    """

    def __init__(self, width: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.expand = nn.Linear(width, expansion * width)
        self.scale = nn.Parameter(torch.zeros(expansion * width))
        self.shift = nn.Parameter(torch.zeros(expansion * width))
        self.reduce = nn.Linear(expansion * width, width)

    def forward(self, h: Tensor, valid: Tensor) -> Tensor:
        """h ``[B, T, D]``, zeros at padding; valid ``[B, T, 1]`` -> ``[B, T, D]``, zeros at padding."""
        inner = F.gelu(self.expand(self.norm(self.conv(h.transpose(1, 2)).transpose(1, 2)))) * valid
        response = torch.linalg.vector_norm(inner, dim=1, keepdim=True)
        share = response / (response.mean(-1, keepdim=True) + EPSILON)
        return (h + self.reduce(inner + self.scale * (inner * share) + self.shift)) * valid


class Front(nn.Module):
    """``blocks`` of them one after the other; none at all is the identity."""

    def __init__(self, settings: Settings, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConvNeXt(width, settings.kernel, settings.expansion) for _ in range(settings.blocks))

    def forward(self, interface: Tensor, mask: Tensor) -> Tensor:
        """The token interface ``[B, T, D]`` with its surroundings taken in; mask ``[B, T]``, True at valid frames."""
        if not self.blocks:
            return interface
        valid = mask.unsqueeze(-1)
        h = interface * valid
        for block in self.blocks:
            h = block(h, valid)
        return h
