"""What is minimised: L = L_FM + lambda_BiT L_BiT + sum_{k in S} lambda_k (1 - cos(h_phi_k(pool h_k), T(x))) (Eq. 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from agrepa.domains import DOMAINS
from agrepa.flow.path import flow_matching_loss, generator, point, velocity
from agrepa.model.conditioning import Condition
from agrepa.model.dit import DiT, pool
from agrepa.model.heads import AlignmentHead, BiTC
from agrepa.training.batches import Batch, noise

if TYPE_CHECKING:
    from agrepa.params import Experiment


@dataclass
class Draw:
    """The randomness of one step: times ``[B]``, noise ``[B, T, M]``, and the condition with its dropouts and reference."""

    t: Tensor
    eps: Tensor
    condition: Condition


def draw(p: Experiment, batch: Batch, seed: int, step: int) -> Draw:
    """Draw t, eps, condition dropout and reference prefixes from the stream (seed, step), the same for every arm."""
    g, size = generator(seed, "step", step), len(batch.ids)
    t = torch.rand(size, generator=g)
    dropped = torch.rand(size, generator=g) < p.training.condition_dropout
    hidden = torch.rand(size, generator=g) < p.training.reference_dropout
    fraction = torch.rand(size, generator=g) * p.training.reference_fraction
    prefix = (batch.mask.sum(1) * fraction).long() * ~(dropped | hidden)
    shown = torch.arange(batch.mel.shape[1]) < prefix[:, None]
    c = batch.condition
    return Draw(
        t,
        noise(tuple(batch.mel.shape), p.flow.noise_scale, seed, "eps", step),
        Condition(c.tokens, c.positions, batch.mel * shown[..., None], dropped),
    )


class Objective(nn.Module):
    """The DiT with BiT-C and, for an aligned arm, one head for each (domain, layer) of its selection.

    Args:
        selection: domain -> (layers from 1, weights that sum to 1); empty for Base and warm-up.
    """

    def __init__(
        self,
        p: Experiment,
        bands: int,
        vocabularies: list[int],
        teacher_widths: dict[str, int],
        selection: dict[str, tuple[list[int], list[float]]] | None = None,
    ) -> None:
        super().__init__()
        self.dit = DiT(p.model, bands, vocabularies)
        self.bit_c = BiTC(self.dit.width, teacher_widths)
        self.selection = selection or {}
        self.heads = nn.ModuleDict(
            {
                f"{domain}_{layer}": AlignmentHead(self.dit.width, p.model.head_width, teacher_widths[domain])
                for domain, (layers, _) in self.selection.items()
                for layer in layers
            }
        )
        self.bit_c_weight = {str(domain): weight for domain, weight in p.training.bit_c_weight.items()}
        self.alignment_weight = p.training.alignment_weight

    def forward(self, batch: Batch, drawn: Draw) -> dict[str, Tensor]:
        """Scalar losses: "flow", "bit_c", "alignment" (unweighted where they have a weight) and "total"."""
        states: dict[int, Tensor] = {}
        predicted = self.dit(point(batch.mel, drawn.eps, drawn.t), drawn.t, drawn.condition, batch.mask, states=states)
        flow = flow_matching_loss(predicted, velocity(batch.mel, drawn.eps), batch.mask).mean()
        supervised = {0, *(layer for layers, _ in self.selection.values() for layer in layers)}
        pooled = {layer: pool(states[layer], batch.mask) for layer in sorted(supervised)}
        bit_c = alignment = weighted_bit_c = flow.new_zeros(())
        for index, domain in enumerate(DOMAINS):
            # A dropped condition leaves nothing in the token interface to compare with the teacher.
            chosen = batch.domain == index
            if not chosen.any():
                continue
            teacher, part = batch.teachers[domain], chosen.float().mean()
            heard = ~drawn.condition.dropped[chosen]
            if heard.any():
                loss = (1 - self.bit_c.score(pooled[0][chosen][heard], teacher[heard], domain)).mean() * part
                bit_c, weighted_bit_c = bit_c + loss, weighted_bit_c + self.bit_c_weight[domain] * loss
            for layer, weight in zip(*self.selection.get(domain, ((), ())), strict=True):
                head = self.heads[f"{domain}_{layer}"]
                assert isinstance(head, AlignmentHead)
                score = head.score(pooled[layer][chosen], teacher)
                alignment = alignment + weight * (1 - score).mean() * part
        return {
            "flow": flow,
            "bit_c": bit_c,
            "alignment": alignment,
            "total": flow + weighted_bit_c + self.alignment_weight * alignment,
        }
