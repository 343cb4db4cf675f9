"""Head: none. The layer itself is compared with the target, which has to be as wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agrepa.alignment.protocols import Head
from agrepa.errors import ParamsError

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.params.model import Model


class Identity(Head):
    """h."""

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        return h


def build(settings: Model, width: int, target_width: int) -> Identity:
    """Nothing to build.

    Raises ParamsError when the target has another number of channels.
    """
    if width != target_width:
        raise ParamsError(
            f"head 'identity' cannot compare {width} channels of the model with {target_width} of the target: "
            "use head: mlp, or target: internal"
        )
    return Identity()
