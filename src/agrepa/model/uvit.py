"""A transformer with long skips and the time as one more frame in front, as Voicebox (Le et al. 2023, arXiv 2306.15687).

Layer l of n adds to a base path, h_l = b_l + m_l f_l(b_l). In the later half b_l = W [h_{l-1}; h_{n-l}], where h_{n-l} is what
entered layer n - l + 1; in the earlier half, and in the middle of an odd depth, b_l = h_{l-1}. A gate switches f_l off and leaves
the skip and its projection. An early layer acts through the skips as well, which belongs to its effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agrepa.model.entrance import Entrance
from agrepa.model.transformer import PreNorm

if TYPE_CHECKING:
    from agrepa.model.conditioning import Condition
    from agrepa.params.model import Model

PAPER = "Voicebox"  # the backbone of the paper that this one stands for


class UViT(Entrance):
    """Velocity v_theta(x_t, t, c) over mel frames, one gate a block; time enters as a frame, so blocks see T + 1 of them."""

    def __init__(self, settings: Model, bands: int, vocabularies: list[int]) -> None:
        super().__init__(settings, bands, vocabularies)
        width, half = settings.width, settings.depth // 2
        self.kinds = ["transformer"] * (settings.depth - half) + ["transformer behind a skip"] * half
        self.blocks = nn.ModuleList(
            PreNorm(width, settings.heads, settings.ff_mult, settings.dropout, self.rotary, nn.RMSNorm)
            for _ in range(settings.depth)
        )
        self.skips = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(half))
        self.norm = nn.RMSNorm(width)
        self.proj_out = nn.Linear(width, bands)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def begin(self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """h_0 with the time in front ``[B, 1 + T, D]``, its mask ``[B, 1 + T]``, and the token interface ``[B, T, D]``."""
        h, c, interface = self.embed(x, t, condition, mask)
        return torch.cat([c[:, None].to(h.dtype), h], 1), F.pad(mask, (1, 0), value=True), interface

    def base(self, layer: int, below: list[Tensor]) -> Tensor:
        """What layer ``layer`` reads and adds to, of the states h_0 … below it: ``[B, 1 + T, D]``."""
        partner = self.depth - layer + 1
        if partner >= layer:
            return below[-1]
        skip: Tensor = self.skips[partner - 1](torch.cat([below[-1], below[partner - 1]], -1))
        return skip

    def climb(self, below: list[Tensor], seen: Tensor, gates: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Run the layers above those whose states are ``below``, which grows by theirs; of each what it adds to, and f_l."""
        pairs = []
        for layer in range(len(below), self.depth + 1):
            base = self.base(layer, below)
            f = self.blocks[layer - 1](base, seen)
            below.append(base + (f if gates is None else gates[layer - 1] * f))
            pairs.append((base, f))
        return pairs

    def readout(self, h: Tensor) -> Tensor:
        """h_L ``[B, 1 + T, D]`` -> velocity ``[B, T, M]`` (float32)."""
        return self.proj_out(self.norm(h[:, 1:])).float()

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
        h, seen, interface = self.begin(x, t, condition, mask)
        below = [h]
        self.climb(below, seen, gates)
        if states is not None:
            states |= {layer: h[:, 1:] for layer, h in enumerate(below)} | {0: interface}
        return self.readout(below[-1])

    def unit(self, layer: int) -> nn.Module:
        """The block of a layer; its output is f_l with the write to the time's frame in front, ``[B, 1 + T, D]``."""
        return self.blocks[layer - 1]

    def updates(self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        h, seen, _ = self.begin(x, t, condition, mask)
        return [(base[:, 1:], f[:, 1:]) for base, f in self.climb([h], seen)]

    def ablated(
        self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor, replace: Callable[[Tensor], Tensor] | None = None
    ) -> Iterator[Tensor]:
        """Layers below the gate are not changed by it, so they run once: L (L + 1) / 2 blocks instead of about L^2.

        What a layer writes to the time's frame is replaced as if it were written to every frame.
        """
        h, seen, _ = self.begin(x, t, condition, mask)
        full = [h]
        pairs = self.climb(full, seen)
        yield self.readout(full[-1])
        for layer, (base, f) in enumerate(pairs, 1):
            gated = base
            if replace is not None:
                time, frames = f[:, :1], f[:, 1:]
                gated = base + torch.cat([replace(time.expand_as(frames))[:, :1], replace(frames)], 1)
            below = [*full[:layer], gated]
            self.climb(below, seen)
            yield self.readout(below[-1])


def build(settings: Model, bands: int, vocabularies: list[int]) -> UViT:
    """The network of these sizes; see ``agrepa.model.backbone.build``."""
    return UViT(settings, bands, vocabularies)
