"""Head: two-layer MLP (Eq. 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from agrepa.alignment.protocols import Head

if TYPE_CHECKING:
    from agrepa.params.model import Model


class MLP(Head):
    """Linear, SiLU, Linear on every frame, or on the pooled state."""

    def __init__(self, width: int, head_width: int, target_width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, head_width), nn.SiLU(), nn.Linear(head_width, target_width))

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        return self.mlp(h)


def build(settings: Model, width: int, target_width: int) -> MLP:
    """An MLP of ``model.head_width`` hidden channels."""
    return MLP(width, settings.head_width, target_width)
