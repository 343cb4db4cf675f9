"""Frozen networks: which module reads which archives, and which of its outputs are kept."""

from __future__ import annotations

from pydantic import model_validator

from agrepa.params.base import Distinct, Domain, Filled, Name, Nonnegative, Positive, Strict, Text


class Encoder(Strict):
    """A module of ``agrepa.encoders`` and what of it is left on disk: outputs whole, and outputs as a mean over time.

    ``archives`` are in the order in which the module's ``load`` wants them. ``lead_seconds`` of silence are put before every clip
    and their frames cut off again, so that what the network makes of a beginning is not in the clip's first frames.
    """

    kind: Name
    label: Text
    archives: Filled[Name]
    domains: Filled[Domain]
    frames: Distinct[Name] = []
    means: Distinct[Name] = []
    batch_seconds: Positive = 60.0
    lead_seconds: Nonnegative = 0.0

    @model_validator(mode="after")
    def _keeps_something(self) -> Encoder:
        if not self.frames and not self.means:
            raise ValueError("keeps no output: name one in frames or in means, or remove the encoder")
        return self
