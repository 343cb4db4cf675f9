"""The velocity network: a diffusion transformer with adaLN-Zero whose every block carries a gate m_l.

h_l = h_{l-1} + m_l f_l(h_{l-1}, t, c). With all gates 1 this is the ordinary DiT (Peebles & Xie 2023, arXiv 2212.09748);
with m_k = 0 block k is skipped, which is all that FoG-A needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agrepa.model.conditioning import Condition, TimeEmbedding, TokenEmbedding, sinusoid

if TYPE_CHECKING:
    from agrepa.params import Model


class Block(nn.Module):
    """f_l: adaLN-Zero attention and feed-forward. Returns the residual, not the sum."""

    def __init__(self, width: int, heads: int, ff_mult: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
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


class DiT(nn.Module):
    """Velocity v_theta(x_t, t, c) over mel frames.

    Args:
        settings: sizes.
        bands: M, mel bands.
        vocabularies: size of each token stream.
    """

    def __init__(self, settings: Model, bands: int, vocabularies: list[int]) -> None:
        super().__init__()
        width = settings.width
        self.depth, self.width = settings.depth, width
        self.tokens = TokenEmbedding(vocabularies, settings.token_width, width)
        self.time = TimeEmbedding(width)
        self.enter = nn.Linear(2 * bands + width, width)
        self.local = nn.Conv1d(width, width, settings.conv_kernel, padding=settings.conv_kernel // 2, groups=width)
        self.blocks = nn.ModuleList(
            Block(width, settings.heads, settings.ff_mult, settings.dropout) for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, bands)
        for layer in (self.modulation, self.leave):
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
        interface = self.tokens(condition)
        h = self.enter(torch.cat([x, interface, condition.reference], -1))
        h = h + sinusoid(torch.arange(x.shape[1], device=x.device), self.width).to(h.dtype)
        valid = mask.unsqueeze(-1)
        h = h * valid
        h = (h + F.gelu(self.local(h.transpose(1, 2)).transpose(1, 2))) * valid
        return h, self.time(t), interface

    def readout(self, h: Tensor, c: Tensor) -> Tensor:
        """h_L ``[B, T, D]`` -> velocity ``[B, T, M]`` (float32)."""
        shift, scale = self.modulation(F.silu(c))[:, None].chunk(2, -1)
        return self.leave(self.norm(h) * (1 + scale) + shift).float()

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        condition: Condition,
        mask: Tensor,
        gates: Tensor | None = None,
        states: dict[int, Tensor] | None = None,
    ) -> Tensor:
        """Velocity ``[B, T, M]``; padded frames hold no meaning.

        Args:
            gates: m_1 … m_L ``[L]``; all 1 when absent.
            states: filled with h_l ``[B, T, D]`` of every layer l from 1, and with the token interface as layer 0.
        """
        h, c, interface = self.embed(x, t, condition, mask)
        if states is not None:
            states[0] = interface
        for layer, block in enumerate(self.blocks, 1):
            residual = block(h, c, mask)
            h = h + (residual if gates is None else gates[layer - 1] * residual)
            if states is not None:
                states[layer] = h
        return self.readout(h, c)


def pool(h: Tensor, mask: Tensor) -> Tensor:
    """Mean over valid frames: h ``[B, T, D]``, mask ``[B, T]`` -> ``[B, D]`` (float32)."""
    weight = mask.unsqueeze(-1).float()
    return (h.float() * weight).sum(1) / weight.sum(1)
