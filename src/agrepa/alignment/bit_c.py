"""BiT-C: the token interface is tied to the teachers by one linear projection a domain (Eq. 3-5)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BiTC(nn.Module):
    """One linear projection P a domain, after normalisation: P(norm(pooled)) (Eq. 3). LASP uses it frozen at every layer.

    Args:
        width: D, channels of the model's states.
        teacher_widths: domain -> D_T, channels of its teacher.
    """

    def __init__(self, width: int, teacher_widths: dict[str, int]) -> None:
        super().__init__()
        self.project = nn.ModuleDict({domain: nn.Linear(width, size) for domain, size in teacher_widths.items()})

    def score(self, pooled: Tensor, teacher: Tensor, domain: str) -> Tensor:
        """cos(P(norm(pooled)), teacher): pooled ``[B, D]``, teacher ``[B, D_T]`` -> ``[B]`` (Eq. 4, 6)."""
        normal = F.layer_norm(pooled, pooled.shape[-1:])
        return F.cosine_similarity(self.project[domain](normal).float(), teacher.float(), dim=-1)
