"""What the rest of the project may know of a velocity network, and how one is built by name."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from agrepa.model.conditioning import Condition
    from agrepa.params.model import Model


class Backbone(nn.Module):
    """A velocity v_theta(x_t, t, c) made of L gated layers: layer l adds m_l f_l to a base path, and all m are 1.

    Attributes:
        depth: L. Layers count from 1 in the order in which they run.
        width: D, channels of every kept state.
        kinds: what kind of block each layer is, ``[L]`` names.
    """

    depth: int
    width: int
    kinds: list[str]

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
        """Velocity ``[B, T, M]``; padded frames hold no meaning.

        Args:
            x: x_t ``[B, T, M]``.
            t: ``[B]``.
            mask: True at valid frames ``[B, T]``.
            gates: m_1 … m_L ``[L]``; all 1 when absent.
            states: filled with h_l ``[B, T, D]``, the state after layer l, of every layer from 1, and with the token interface
                as layer 0; all of them at mel frames.
        """
        raise NotImplementedError

    def unit(self, layer: int) -> nn.Module:
        """The module whose parameters are those of f_l, layers from 1."""
        raise NotImplementedError

    def ablated(self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor) -> Iterator[Tensor]:
        """v, then v^{\\1}, …, v^{\\L}: the velocity with one layer gated off, ``[B, T, M]`` each.

        This is the definition, L + 1 runs of the whole network. A backbone may offer the same result at less cost.
        """
        yield self(x, t, condition, mask)
        for layer in range(self.depth):
            gates = torch.ones(self.depth, device=x.device)
            gates[layer] = 0.0
            yield self(x, t, condition, mask, gates=gates)


def build(settings: Model, bands: int, vocabularies: list[int]) -> Backbone:
    """The backbone of kind ``settings.kind``, a module of this package with a ``build`` of the same arguments.

    Args:
        bands: M, mel bands.
        vocabularies: size of each token stream.
    """
    return import_module(f"agrepa.model.{settings.kind}").build(settings, bands, vocabularies)


def pool(h: Tensor, mask: Tensor) -> Tensor:
    """Mean over valid frames: h ``[B, T, D]``, mask ``[B, T]`` -> ``[B, D]`` (float32)."""
    weight = mask.unsqueeze(-1).float()
    return (h.float() * weight).sum(1) / weight.sum(1)
