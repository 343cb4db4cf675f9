"""The velocity network: a diffusion transformer with adaLN-Zero whose every block carries a gate m_l.

h_l = h_{l-1} + m_l f_l(h_{l-1}, t, c). With all gates 1 this is the ordinary DiT (Peebles & Xie 2023, arXiv 2212.09748);
with m_k = 0 block k is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agrepa.model.backbone import Backbone
from agrepa.model.conditioning import Condition, TimeEmbedding, TokenEmbedding, sinusoid
from agrepa.model.front import Front
from agrepa.model.rotary import angles, rotate

if TYPE_CHECKING:
    from agrepa.params.model import Model


class Block(nn.Module):
    """f_l: adaLN-Zero attention and feed-forward. Returns the residual, not the sum."""

    def __init__(self, width: int, heads: int, ff_mult: int, dropout: float, rotary: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.rotary = heads, dropout, rotary
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, ff_mult * width), nn.GELU(approximate="tanh"), nn.Dropout(dropout), nn.Linear(ff_mult * width, width)
        )
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, frames, width = x.shape
        query, key, value = self.qkv(x).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.rotary:
            angle = angles(frames, width // self.heads, x.device)
            query, key = rotate(query, angle), rotate(key, angle)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask[:, None, None, :], dropout_p=self.dropout if self.training else 0.0
        )
        return self.out(mixed.transpose(1, 2).reshape(batch, frames, width))

    def forward(self, h: Tensor, c: Tensor, mask: Tensor) -> Tensor:
        """f_l(h, c): h ``[B, T, D]``, c ``[B, D]``, mask ``[B, T]`` True at valid frames -> residual ``[B, T, D]``."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(F.silu(c))[:, None].chunk(6, -1)
        attended = gate_a * self.attend(self.norm(h) * (1 + scale_a) + shift_a, mask)
        inner = self.norm(h + attended) * (1 + scale_f) + shift_f
        return attended + gate_f * self.feed_forward(inner)


class DiT(Backbone):
    """Velocity v_theta(x_t, t, c) over mel frames, one gate a block.

    Args:
        settings: sizes.
        bands: M, mel bands.
        vocabularies: size of each token stream.
    """

    def __init__(self, settings: Model, bands: int, vocabularies: list[int]) -> None:
        super().__init__()
        width = settings.width
        self.depth, self.width, self.kinds = settings.depth, width, ["transformer"] * settings.depth
        self.rotary = settings.positions == "rotary"
        self.tokens = TokenEmbedding(vocabularies, settings.token_width, width)
        self.front = Front(settings.front, width)
        self.time = TimeEmbedding(width)
        self.proj_in = nn.Linear(2 * bands + width, width)
        self.local = nn.Conv1d(width, width, settings.conv_kernel, padding=settings.conv_kernel // 2, groups=width)
        self.blocks = nn.ModuleList(
            Block(width, settings.heads, settings.ff_mult, settings.dropout, self.rotary) for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 2 * width)
        self.proj_out = nn.Linear(width, bands)
        for layer in (self.modulation, self.proj_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def embed(self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Everything before the blocks.

        Args:
            x: x_t ``[B, T, M]``.
            t: ``[B]``.
            mask: True at valid frames ``[B, T]``.

        Returns:
            h_0 ``[B, T, D]``, the time condition c ``[B, D]``, and the token interface ``[B, T, D]``.
        """
        interface = self.front(self.tokens(condition), mask)
        h = self.proj_in(torch.cat([x, interface, condition.reference], -1))
        if not self.rotary:
            h = h + sinusoid(torch.arange(x.shape[1], device=x.device), self.width).to(h.dtype)
        valid = mask.unsqueeze(-1)
        h = h * valid
        h = (h + F.gelu(self.local(h.transpose(1, 2)).transpose(1, 2))) * valid
        return h, self.time(t), interface

    def readout(self, h: Tensor, c: Tensor) -> Tensor:
        """h_L ``[B, T, D]`` -> velocity ``[B, T, M]`` (float32)."""
        shift, scale = self.modulation(F.silu(c))[:, None].chunk(2, -1)
        return self.proj_out(self.norm(h) * (1 + scale) + shift).float()

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
        if states is not None:
            states[0] = interface
        for layer, block in enumerate(self.blocks, 1):
            residual = block(h, c, mask)
            h = h + (residual if gates is None else gates[layer - 1] * residual)
            if states is not None:
                states[layer] = h
        return self.readout(h, c)

    def unit(self, layer: int) -> nn.Module:
        return self.blocks[layer - 1]

    def ablated(
        self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor, replace: Callable[[Tensor], Tensor] | None = None
    ) -> Iterator[Tensor]:
        """Layers below the gate are not changed by it, so they run once: L (L + 1) / 2 blocks instead of about L^2."""
        h, c, _ = self.embed(x, t, condition, mask)
        states = [h]
        for block in self.blocks:
            states.append(states[-1] + block(states[-1], c, mask))
        yield self.readout(states[-1], c)
        for k in range(self.depth):
            h = states[k] if replace is None else states[k] + replace(states[k + 1] - states[k])
            for block in self.blocks[k + 1 :]:
                h = h + block(h, c, mask)
            yield self.readout(h, c)


def build(settings: Model, bands: int, vocabularies: list[int]) -> DiT:
    """The DiT of these sizes; see ``agrepa.model.backbone.build``."""
    return DiT(settings, bands, vocabularies)
