"""The velocity network and the path that it is trained on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from agrepa.params.base import Count, Name, Part, Positive, Strict


class Model(Strict):
    """A backbone: a module of ``agrepa.model``, and its size."""

    kind: Name
    depth: Annotated[int, Field(ge=2)]
    width: Count
    heads: Count
    ff_mult: Count
    conv_kernel: Count
    dropout: Part
    token_width: Count
    head_width: Count

    @field_validator("heads")
    @classmethod
    def _divides_the_width(cls, value: int, info: ValidationInfo) -> int:
        width = info.data.get("width", 2 * value)
        if width % value or (width // value) % 2:
            raise ValueError(f"must divide width {width} into an even number of channels for each head")
        return value

    @field_validator("conv_kernel")
    @classmethod
    def _has_a_middle(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd, so that a frame stays in the middle of the kernel")
        return value


class Flow(Strict):
    noise_scale: Positive
