"""Projections from the model's layers to the teachers' spaces: BiT-C (also LASP's frozen probe) and the alignment heads."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BiTC(nn.Module):
    """One linear projection P a domain, after normalisation: P(norm(pooled)) (Eq. 3). LASP uses it frozen at every layer."""

    def __init__(self, width: int, teacher_widths: dict[str, int]) -> None:
        super().__init__()
        self.project = nn.ModuleDict({domain: nn.Linear(width, size) for domain, size in teacher_widths.items()})

    def score(self, pooled: Tensor, teacher: Tensor, domain: str) -> Tensor:
        """cos(P(norm(pooled)), teacher): pooled ``[B, D]``, teacher ``[B, D_T]`` -> ``[B]`` (Eq. 4, 6)."""
        normal = F.layer_norm(pooled, pooled.shape[-1:])
        return F.cosine_similarity(self.project[domain](normal).float(), teacher.float(), dim=-1)


class AlignmentHead(nn.Module):
    """h_phi: two-layer MLP on the pooled hidden state (Eq. 12)."""

    def __init__(self, width: int, head_width: int, teacher_width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, head_width), nn.SiLU(), nn.Linear(head_width, teacher_width))

    def score(self, pooled: Tensor, teacher: Tensor) -> Tensor:
        """cos(h_phi(pooled), teacher): ``[B, D]``, ``[B, D_T]`` -> ``[B]``."""
        return F.cosine_similarity(self.mlp(pooled).float(), teacher.float(), dim=-1)
