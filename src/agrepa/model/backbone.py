"""What the rest of the project may know of a velocity network, and how one is built by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from agrepa.errors import ParamsError
from agrepa.flow.preconditioning import coefficients

if TYPE_CHECKING:
    from agrepa.model.conditioning import Condition, TokenEmbedding
    from agrepa.params.model import Model


class Backbone(nn.Module):
    """A velocity v_theta(x_t, t, c) made of L gated layers: layer l adds m_l f_l to a base path, and all m are 1.

    Attributes:
        depth: L. Layers count from 1 in the order in which they run.
        width: D, channels of every kept state.
        kinds: what kind of block each layer is, ``[L]`` names.
        tokens: the token embedding, whose tables may be given a start.
    """

    depth: int
    width: int
    kinds: list[str]
    tokens: TokenEmbedding

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
                as layer 0, as it enters the network; all of them at mel frames.
        """
        raise NotImplementedError

    def unit(self, layer: int) -> nn.Module:
        """The module that computes f_l, layers from 1: its output is f_l ``[B, T, D]``, and its parameters are those of f_l."""
        raise NotImplementedError

    def given(self, x: Tensor, t: Tensor) -> Tensor | None:
        """The part of the velocity that is there without any layer, ``[B, T, M]``; None where all of it is the network's."""
        return None

    def updates(self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Of every layer the base path h_l - f_l that it adds to, and f_l, ``[B, T, D]`` each.

        The base path is what h_l would be without the layer. It is not h_{l-1} where something else lies between two layers, as
        a skip does in a U-shaped network, and not ``states[0]`` for the first.
        """
        states: dict[int, Tensor] = {}
        added: dict[int, Tensor] = {}

        def keep(layer: int, f: Tensor) -> None:
            added[layer] = f

        layers = range(1, self.depth + 1)
        hooks = [self.unit(i).register_forward_hook(lambda _unit, _given, f, layer=i: keep(layer, f)) for i in layers]
        try:
            self(x, t, condition, mask, states=states)
        finally:
            for hook in hooks:
                hook.remove()
        return [(states[layer] - added[layer], added[layer]) for layer in layers]

    def ablated(
        self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor, replace: Callable[[Tensor], Tensor] | None = None
    ) -> Iterator[Tensor]:
        """v, then v^{\\1}, …, v^{\\L}: the velocity with one layer gated off, ``[B, T, M]`` each.

        This is the definition, L + 1 runs of the whole network. A backbone may offer the same result at less cost.

        Args:
            replace: gives what the layer adds instead of f_l, of f_l ``[B, T, D]``; when absent it adds nothing.
        """
        yield self(x, t, condition, mask)
        for layer in range(1, self.depth + 1):
            if replace is None:
                gates = torch.ones(self.depth, device=x.device)
                gates[layer - 1] = 0.0
                yield self(x, t, condition, mask, gates=gates)
                continue
            hook = self.unit(layer).register_forward_hook(lambda _unit, _given, f: replace(f))
            try:
                velocity = self(x, t, condition, mask)
            finally:
                hook.remove()
            yield velocity


class Preconditioned(Backbone):
    """v = c_skip(t) x_t + c_out(t) F with F any backbone, whose layers are this one's (see ``agrepa.flow.preconditioning``)."""

    def __init__(self, network: Backbone, noise_scale: float) -> None:
        super().__init__()
        self.network, self.noise_scale = network, noise_scale
        self.depth, self.width, self.kinds = network.depth, network.width, network.kinds

    @property
    def tokens(self) -> TokenEmbedding:  # type: ignore[override]
        return self.network.tokens

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
        return self.velocity(x, t, self.network(x, t, condition, mask, gates=gates, states=states))

    def velocity(self, x: Tensor, t: Tensor, f: Tensor) -> Tensor:
        """v of x_t and F, ``[B, T, M]`` each."""
        return self.given(x, t) + coefficients(t, self.noise_scale)[1][:, None, None] * f

    def given(self, x: Tensor, t: Tensor) -> Tensor:
        return coefficients(t, self.noise_scale)[0][:, None, None] * x

    def unit(self, layer: int) -> nn.Module:
        return self.network.unit(layer)

    def updates(self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        return self.network.updates(x, t, condition, mask)

    def ablated(
        self, x: Tensor, t: Tensor, condition: Condition, mask: Tensor, replace: Callable[[Tensor], Tensor] | None = None
    ) -> Iterator[Tensor]:
        for f in self.network.ablated(x, t, condition, mask, replace):
            yield self.velocity(x, t, f)


def build(settings: Model, bands: int, vocabularies: list[int], *, noise_scale: float | None = None) -> Backbone:
    """The backbone of kind ``settings.kind``, a module of this package with a ``build(settings, bands, vocabularies)``.

    Args:
        bands: M, mel bands.
        vocabularies: size of each token stream.
        noise_scale: s, deviation of the noise at t = 0; read where the model is preconditioned.

    Raises ParamsError when it is and s is not given, and when the module builds what has no gates.
    """
    network: Backbone = import_module(f"agrepa.model.{settings.kind}").build(settings, bands, vocabularies)
    if not isinstance(network, Backbone) or not {"gates", "states"} <= set(signature(network.forward).parameters):
        raise ParamsError(
            f"model.kind: agrepa/model/{settings.kind}.py builds a {type(network).__name__}, whose layers have no gates: "
            "build a Backbone whose forward takes gates and states, or choose another kind"
        )
    if not settings.preconditioned:
        return network
    if noise_scale is None:
        raise ParamsError("model.preconditioned rests on flow.noise_scale, which was not given: pass noise_scale")
    return Preconditioned(network, noise_scale)


def pool(h: Tensor, mask: Tensor) -> Tensor:
    """Mean over valid frames: h ``[B, T, D]``, mask ``[B, T]`` -> ``[B, D]`` (float32)."""
    weight = mask.unsqueeze(-1).float()
    return (h.float() * weight).sum(1) / weight.sum(1)
