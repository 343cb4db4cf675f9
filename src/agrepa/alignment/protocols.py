"""What the four parts of a supervision promise each other. A kind of each is one module with a ``build``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from agrepa.data.collate import Batch
    from agrepa.model.backbone import Backbone

Selection = dict[str, tuple[list[int], list[float]]]
"""Domain -> layers from 1 and their weights lambda_k, which sum to 1. A domain without layers is left out."""


class Target(Protocol):
    """What a layer is to agree with. Kinds: ``build(backbone, dataset)`` in a module of ``targets``.

    Attributes:
        framewise: whether there is a target at every mel frame, or one for the whole clip.
    """

    framewise: bool

    def width(self, domain: str, layer: int) -> int:
        """D_T, channels of the target of a layer; an AgrepaError where that layer can have none."""
        ...

    def of(self, batch: Batch, states: dict[int, Tensor], domain: str, layer: int, chosen: Tensor) -> Tensor:
        """The target of ``layer`` for the clips of a domain: ``[B_d, D_T]``, or framewise ``[B_d, T, D_T]``. It has no gradient.

        Args:
            states: h_l ``[B, T, D]`` of the model by layer.
            chosen: which clips of the batch are of that domain ``[B]``.
        """
        ...


class Head(nn.Module):
    """h_phi: from the model's channels to the target's. Kinds: ``build(settings, width, target_width)`` in a module of ``heads``.

    Attributes:
        temporal: whether a frame's output depends on its neighbours, so that it has to run before pooling.
    """

    temporal = False

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """``[B, T, D]`` -> ``[B, T, D_T]``; a head that is not temporal also maps pooled states ``[B, D]`` -> ``[B, D_T]``.

        Args:
            mask: True at valid frames ``[B, T]``.
        """
        raise NotImplementedError


class Schedule(Protocol):
    """How much the supervision of each clip weighs. Kinds: ``build(p)`` in a module of ``schedules``."""

    def __call__(self, step: int, t: Tensor) -> Tensor:
        """Weight ``[B]`` of clips at times t ``[B]`` in training step ``step``."""
        ...


class Layers(Protocol):
    """Which layers are supervised. Kinds: ``build(p, selection, backbone, dataset)`` in a module of ``layers``.

    Attributes:
        reachable: domain -> every layer that may ever be supervised, which gets a head.
    """

    reachable: dict[str, list[int]]

    def __call__(self, step: int) -> Selection:
        """Layers and weights in training step ``step``."""
        ...

    def observe(self, step: int, backbone: Backbone) -> dict[str, float]:
        """Look at the frozen model of ``step``, before that step is trained; gives what the log is to say about it."""
        ...

    def memory(self) -> Any:
        """What an interrupted training has to know to go on, as JSON data."""
        ...

    def recall(self, memory: Any) -> None:
        """Go on from what ``memory`` gave."""
        ...
