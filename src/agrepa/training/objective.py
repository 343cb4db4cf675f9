"""What is minimised: L = L_FM + lambda_BiT L_BiT, and the alignment term of an arm where it has one (Eq. 5, 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from agrepa.domains import DOMAINS
from agrepa.flow.loss import flow_matching_loss
from agrepa.flow.path import interpolate, velocity
from agrepa.model.backbone import pool

if TYPE_CHECKING:
    from agrepa.alignment.bit_c import BiTC
    from agrepa.data.collate import Batch
    from agrepa.data.noise import Draw
    from agrepa.model.backbone import Backbone
    from agrepa.params.training import Training


class Term(Protocol):
    """An additional loss on hidden states that may change its mind while the model trains."""

    def __call__(self, states: dict[int, Tensor], batch: Batch, step: int, t: Tensor) -> Tensor:
        """A scalar from the states h_l ``[B, T, D]`` by layer at times t ``[B]``."""
        ...

    def memory(self) -> Any:
        """What an interrupted training has to know to go on, as JSON data."""
        ...

    def recall(self, memory: Any) -> None:
        """Go on from what ``memory`` gave."""
        ...


class Objective(nn.Module):
    """A backbone with BiT-C and, for an aligned arm, its supervision."""

    def __init__(self, settings: Training, backbone: Backbone, bit_c: BiTC, supervision: Term | None = None) -> None:
        super().__init__()
        self.backbone, self.bit_c, self.supervision = backbone, bit_c, supervision
        self.bit_c_weight = {str(domain): weight for domain, weight in settings.bit_c_weight.items()}
        self.alignment_weight, self.reference_loss = settings.alignment_weight, settings.reference_loss

    def forward(self, batch: Batch, drawn: Draw) -> dict[str, Tensor]:
        """Scalar losses: "flow", "bit_c", "alignment" (unweighted where they have a weight) and "total".

        Each is a sum over the batch's clips divided by a number that the whole step has, so that those of a step's shares add up
        to the loss of the step, whichever clips and domains a share lacks.
        """
        states: dict[int, Tensor] = {}
        x = interpolate(batch.mel, drawn.eps, drawn.t)
        predicted = self.backbone(x, drawn.t, drawn.condition, batch.mask, states=states)
        asked = batch.mask if self.reference_loss else batch.mask & ~drawn.given
        flow = flow_matching_loss(predicted, velocity(batch.mel, drawn.eps), asked).sum() / len(batch.whole.ids)
        interface = pool(states[0], batch.mask)
        bit_c = weighted_bit_c = alignment = flow.new_zeros(())
        for index, domain in enumerate(DOMAINS):
            # A dropped condition leaves nothing in the token interface to compare with the teacher.
            chosen = batch.domain == index
            heard = ~drawn.condition.dropped[chosen]
            if heard.any():
                teacher, part = batch.teacher_vectors[domain][heard], batch.whole.part(domain)
                score = self.bit_c.score(interface[chosen][heard], teacher, domain)
                loss = (1 - score).sum() / drawn.heard[domain] * part
                bit_c, weighted_bit_c = bit_c + loss, weighted_bit_c + self.bit_c_weight[domain] * loss
        if self.supervision is not None:
            alignment = self.supervision(states, batch, drawn.step, drawn.t)
        return {
            "flow": flow,
            "bit_c": bit_c,
            "alignment": alignment,
            "total": flow + weighted_bit_c + self.alignment_weight * alignment,
        }
