"""The velocity network: a diffusion transformer with adaLN-Zero whose every block carries a gate m_l.

h_l = h_{l-1} + m_l f_l(h_{l-1}, t, c). With all gates 1 this is the ordinary DiT (Peebles & Xie 2023, arXiv 2212.09748);
with m_k = 0 block k is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from agrepa.model.entrance import Entrance
from agrepa.model.transformer import Transformer

if TYPE_CHECKING:
    from agrepa.model.conditioning import Condition
    from agrepa.params.model import Model

PAPER = "Own DiT"  # the backbone of the paper that this one stands for


class Block(Transformer):
    """f_l: adaLN-Zero attention and feed-forward. Returns the residual, not the sum."""

    def __init__(self, width: int, heads: int, ff_mult: int, dropout: float, rotary: bool) -> None:
        super().__init__(width, heads, ff_mult, dropout, rotary)
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, h: Tensor, c: Tensor, mask: Tensor) -> Tensor:
        """f_l(h, c): h ``[B, T, D]``, c ``[B, D]``, mask ``[B, T]`` True at valid frames -> residual ``[B, T, D]``."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(F.silu(c))[:, None].chunk(6, -1)
        attended = gate_a * self.attend(self.norm(h) * (1 + scale_a) + shift_a, mask)
        inner = self.norm(h + attended) * (1 + scale_f) + shift_f
        return attended + gate_f * self.feed_forward(inner)


class DiT(Entrance):
    """Velocity v_theta(x_t, t, c) over mel frames, one gate a block."""

    def __init__(self, settings: Model, bands: int, vocabularies: list[int]) -> None:
        super().__init__(settings, bands, vocabularies)
        width, self.kinds = settings.width, ["transformer"] * settings.depth
        self.blocks = nn.ModuleList(
            Block(width, settings.heads, settings.ff_mult, settings.dropout, self.rotary) for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 2 * width)
        self.proj_out = nn.Linear(width, bands)
        for layer in (self.modulation, self.proj_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

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
