"""One clip as the model sees it, a window of it, and one clip behind another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

Window = tuple[int, int]
"""The mel frames from the first number up to and without the second."""
Prompt = tuple[str, int]
"""A clip, and how many of its first mel frames stand before another one as its reference."""


@dataclass
class Example:
    """One clip as the model sees it.

    Attributes:
        mel: normalised log-mel ``[T, M]``.
        tokens: ids ``[N, S]``.
        positions: where each mel frame lies on the token axis ``[T]``.
        domain: one of DOMAINS.
        teacher_vector: the teacher's vector of the clip ``[1, D_T]``, where it was asked for.
        teacher_frames: the teacher's frames ``[F, D_T]``, where they were asked for, and where each mel frame lies on their
            axis ``[T]``.
        reference: how many of the first mel frames are given as the reference.
    """

    id: str
    mel: Tensor
    tokens: Tensor
    positions: Tensor
    domain: str
    teacher_vector: Tensor | None = None
    teacher_frames: tuple[Tensor, Tensor] | None = None
    reference: int = 0

    def window(self, first: int, end: int) -> Example:
        """The mel frames ``[first, end)`` with the tokens between which they lie. The teacher's vector stays that of the clip."""
        places = self.positions[first:end]
        low, high = int(places[0]), int(places[-1]) + 2
        framed = self.teacher_frames
        if framed is not None:
            framed = framed[0], framed[1][first:end]
        mel, tokens = self.mel[first:end], self.tokens[low:high]
        return replace(self, mel=mel, tokens=tokens, positions=places - low, teacher_frames=framed)

    def after(self, prompt: Example) -> Example:
        """This clip behind ``prompt``, whose mel is the reference: one sequence of mel frames and one of tokens.

        It is there to be synthesised: no teacher's frames go with it.
        """
        return replace(
            self,
            mel=torch.cat([prompt.mel, self.mel]),
            tokens=torch.cat([prompt.tokens, self.tokens]),
            positions=torch.cat([prompt.positions, len(prompt.tokens) + self.positions]),
            teacher_frames=None,
            reference=len(prompt.mel),
        )
