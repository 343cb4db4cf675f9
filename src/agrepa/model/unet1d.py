"""The U-shaped decoder of Matcha-TTS (Mehta et al. 2024, arXiv 2309.03199) and CosyVoice: down, middle and up stages.

A stage is a residual block of two convolutions, which time enters, and a transformer block. Two stages go down, the second at
half the frame rate; the middle stages stay there; two go up, and take in what the stages down passed on. Stage l adds to a
base path, h_l = W_l b_l + m_l f_l(b_l), where b_l is what the stage is given and W_l the convolution of one frame round the
residual block. A gate switches off all that the stage's two blocks write, and leaves W_l, the change of rate and the skips.

The condition mu is the token interface at mel frames; the originals put a text encoder there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agrepa.model.entrance import Entrance
from agrepa.model.transformer import PreNorm

if TYPE_CHECKING:
    from agrepa.model.conditioning import Condition
    from agrepa.params.model import Model

PAPER = "CosyVoice"  # the backbone of the paper that this one stands for
LEAST = {"depth": 5}  # two stages down, two up, and one between
KERNEL, GROUPS = 3, 8
EPSILON = 1e-5


class ConvBlock(nn.Module):
    """Mish(GroupNorm(conv(h))) that sees no padding: the norm's statistics are those of a clip's valid frames."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.groups = math.gcd(GROUPS, width)
        self.conv = nn.Conv1d(channels, width, KERNEL, padding=KERNEL // 2)
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, h: Tensor, valid: Tensor) -> Tensor:
        """h ``[B, T, C]``, valid ``[B, T, 1]`` -> ``[B, T, D]``, zeros at padding."""
        inner = self.conv((h * valid).transpose(1, 2)).transpose(1, 2).float().unflatten(-1, (self.groups, -1))
        seen = valid.unsqueeze(-1)
        count = seen.sum(1, keepdim=True) * inner.shape[-1]
        mean = (inner * seen).sum((1, 3), keepdim=True) / count
        variance = ((inner - mean).square() * seen).sum((1, 3), keepdim=True) / count
        normed = ((inner - mean) * (variance + EPSILON).rsqrt()).flatten(2)
        return F.mish(normed * self.weight + self.bias) * valid


class Stage(nn.Module):
    """f_l of a stage: what its residual block and its transformer write. Returned at mel frames, so that hooks find it there.

    Args:
        channels: of what the stage is given; D, or 2 D with a skip.
        rate: mel frames to one of its frames.
    """

    def __init__(self, settings: Model, channels: int, rate: int) -> None:
        super().__init__()
        width, self.rate = settings.width, rate
        self.first, self.second = ConvBlock(channels, width), ConvBlock(width, width)
        self.time = nn.Linear(width, width)
        rotary = settings.positions == "rotary"
        self.transformer = PreNorm(width, settings.heads, settings.ff_mult, settings.dropout, rotary, nn.LayerNorm)

    def forward(self, given: Tensor, base: Tensor, c: Tensor, mask: Tensor) -> Tensor:
        """b_l ``[B, T', C]``, W_l b_l ``[B, T', D]``, c ``[B, D]`` and the mask at mel frames ``[B, T]`` -> f_l ``[B, T, D]``."""
        seen = mask[:, :: self.rate]
        valid = seen.unsqueeze(-1)
        convolved = self.second(self.first(given, valid) + self.time(F.mish(c))[:, None], valid)
        f = convolved + self.transformer(base + convolved, seen)
        return at_mel_frames(f, self.rate, mask.shape[1])


def at_mel_frames(h: Tensor, rate: int, frames: int) -> Tensor:
    """h ``[B, T', D]`` with each frame ``rate`` times, cut to ``frames``: ``[B, T, D]``."""
    return h if rate == 1 else h.repeat_interleave(rate, 1)[:, :frames]


class UNet1D(Entrance):
    """Velocity v_theta(x_t, t, c) over mel frames, one gate a stage; clips of any length."""

    def __init__(self, settings: Model, bands: int, vocabularies: list[int]) -> None:
        super().__init__(settings, bands, vocabularies)
        width, middle = settings.width, settings.depth - 4
        self.kinds = ["down"] * 2 + ["middle"] * middle + ["up"] * 2
        self.rates = [1, 2] + [2] * middle + [2, 1]
        channels = [width] * (2 + middle) + [2 * width] * 2
        self.stages = nn.ModuleList(Stage(settings, c, rate) for c, rate in zip(channels, self.rates, strict=True))
        self.shortcuts = nn.ModuleList(nn.Linear(c, width) for c in channels)
        self.to_half_rate = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.leave_down = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2)
        self.to_full_rate = nn.ConvTranspose1d(width, width, 4, stride=2, padding=1)
        self.leave_up = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2)
        self.last = ConvBlock(width, width)
        self.proj_out = nn.Linear(width, bands)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        condition: Condition,
        mask: Tensor,
        *,
        gates: Tensor | None = None,
        states: dict[int, Tensor] | None = None,
    ) -> Tensor:
        h, c, interface = self.embed(x, t, condition, mask)
        frames, states = mask.shape[1], {} if states is None else states
        states[0] = interface
        behind = {1: self.to_half_rate, 2: self.leave_down, self.depth - 1: self.to_full_rate, self.depth: self.leave_up}
        skips: list[Tensor] = []
        for layer, (stage, shortcut, rate) in enumerate(zip(self.stages, self.shortcuts, self.rates, strict=True), 1):
            if self.kinds[layer - 1] == "up":
                h = torch.cat([h, skips.pop()], -1)
            base = shortcut(h)
            residual = stage(h, base, c, mask)[:, ::rate]
            h = base + (residual if gates is None else gates[layer - 1] * residual)
            states[layer] = at_mel_frames(h, rate, frames)
            if self.kinds[layer - 1] == "down":
                skips.append(h)
            if layer in behind:
                h = h * mask[:, ::rate].unsqueeze(-1)
                h = behind[layer](h.transpose(1, 2)).transpose(1, 2)[:, :frames]
        return self.proj_out(self.last(h, mask.unsqueeze(-1))).float()

    def unit(self, layer: int) -> nn.Module:
        return self.stages[layer - 1]


def build(settings: Model, bands: int, vocabularies: list[int]) -> UNet1D:
    """The network of these sizes; see ``agrepa.model.backbone.build``."""
    return UNet1D(settings, bands, vocabularies)
