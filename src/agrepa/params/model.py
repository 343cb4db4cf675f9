"""The velocity network and the path that it is trained on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from agrepa.params.base import Count, Name, Part, Positive, Strict, Whole


def odd(kernel: int) -> int:
    """The same kernel; ValueError when it has no middle."""
    if kernel % 2 == 0:
        raise ValueError("must be odd, so that a frame stays in the middle of the kernel")
    return kernel


class Front(Strict):
    """ConvNeXt blocks on the token interface; ``kernel`` is in mel frames, ``expansion`` a multiple of the width."""

    blocks: Whole
    kernel: Count
    expansion: Count

    @field_validator("kernel")
    @classmethod
    def _has_a_middle(cls, value: int) -> int:
        return odd(value)


class Model(Strict):
    """A backbone: a module of ``agrepa.model``, its size, and what stands before and behind it."""

    kind: Name
    depth: Annotated[int, Field(ge=2)]
    width: Count
    heads: Count
    ff_mult: Count
    conv_kernel: Count
    dropout: Part
    token_width: Count
    head_width: Count
    positions: Literal["absolute", "rotary"]
    tables: Literal["centres", "random"]
    front: Front
    preconditioned: bool

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
        return odd(value)


class Flow(Strict):
    noise_scale: Positive
