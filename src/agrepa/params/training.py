"""Both phases of training, and the teachers' vectors that they compare with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from agrepa.domains import DOMAINS
from agrepa.params.base import Count, Domain, Filled, Fraction, Name, Nonnegative, Part, Positive, Strict, Whole

# YAML has no tuples: a list of two is taken for one.
Vector = Annotated[tuple[Name, Name], Field(strict=False)]


class Teachers(Strict):
    """(encoder, output) whose mean over time is a clip's target vector: semantic for speech, acoustic for audio.

    ``standardised``: less the training clips' mean, over their deviation, in each dimension; the paper takes vectors as they are.
    """

    speech: Vector
    audio: Vector
    standardised: bool = False


class Training(Strict):
    batch_frames: Count
    crop_frames: Count | None
    stratified_times: bool
    audio_share: Annotated[float, Field(gt=0, le=1)]
    learning_rate: Positive
    lr_warmup_steps: Whole
    weight_decay: Nonnegative
    gradient_clip: Positive
    ema: Part
    condition_dropout: Fraction
    reference_dropout: Fraction
    reference_fraction: Fraction
    reference_loss: bool
    bit_c_weight: dict[Domain, Nonnegative]
    alignment_weight: Nonnegative
    precision: Literal["32-true", "bf16-mixed"]
    accelerator: Literal["cpu", "auto", "cuda"]
    warmup_steps: Count
    arm_steps: Count
    log_every: Count
    validate_every: Count
    checkpoint_every: Count
    snapshot_every: Count
    validation_times: Filled[Fraction]
    # How a training is carried out, and no part of what it is: left out of what a job's result is known by.
    devices: Count = Field(1, exclude=True)
    nodes: Count = Field(1, exclude=True)
    accumulate: Count = Field(1, exclude=True)
    workers: Whole = Field(0, exclude=True)
    compile: bool = Field(False, exclude=True)

    @field_validator("crop_frames")
    @classmethod
    def _fits_a_batch(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value > info.data.get("batch_frames", value):
            raise ValueError(f"must be at most batch_frames {info.data['batch_frames']}: a crop has to fit into a batch")
        return value

    @field_validator("bit_c_weight")
    @classmethod
    def _of_both_domains(cls, value: dict[str, float]) -> dict[str, float]:
        if missing := [domain for domain in DOMAINS if domain not in value]:
            raise ValueError(f"has no weight of {' and '.join(missing)}: add it, 0 switches BiT-C off for a domain")
        return value

    @field_validator("validate_every", "checkpoint_every", "snapshot_every")
    @classmethod
    def _multiple(cls, value: int, info: ValidationInfo) -> int:
        if value % info.data.get("log_every", 1):
            raise ValueError(f"must be a multiple of log_every {info.data['log_every']}")
        return value
