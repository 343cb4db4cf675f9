"""What the four parts of a supervision promise each other. A kind of each is one module with a ``build``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from agrepa.data.collate import Batch
    from agrepa.data.noise import Draw
    from agrepa.model.backbone import Backbone


@dataclass(frozen=True)
class OverTime:
    """A weight lambda_k(t) that is known at some times: linear between them, held beyond the first and the last."""

    times: list[float]
    values: list[float]

    def __call__(self, t: Tensor) -> Tensor:
        """lambda_k of each clip's t, ``[B]``."""
        return torch.as_tensor(np.interp(t.cpu().numpy(), self.times, self.values), dtype=t.dtype, device=t.device)


Share = float | OverTime
Selection = dict[str, tuple[list[int], list[Share]]]
"""Domain -> layers from 1 and their weights lambda_k, which sum to 1 (at every t) unless they are ``ranking.twice`` the scores.

A domain without layers is left out."""


@dataclass(frozen=True)
class Course:
    """The training that a supervision takes part in.

    Attributes:
        seed: of the training.
        average: gives the backbone of the moving average, in eval mode.
        drawn: gives the draw of a batch in a step once more, the same to the bit.
    """

    seed: int
    average: Callable[[], Backbone]
    drawn: Callable[[Batch, int], Draw]


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


@runtime_checkable
class Onlooker(Protocol):
    """What a target is as well that looks at more of a step than its hidden states."""

    def look(self, batch: Batch, step: int, course: Course) -> None:
        """Is called in each supervised step before its targets are asked for."""
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
