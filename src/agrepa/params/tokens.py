"""Codebooks and the token sequences that are made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from agrepa.params.base import Count, Domain, Filled, Name, Strict


class Stream(Strict):
    """A codebook: k-means with ``vocabulary`` centres over one encoder's output, fitted on ``domains`` of the training split.

    With ``residual_of``, a primary stream of the same frames, it is fitted on what that stream's centres leave of them.
    """

    encoder: Name
    output: Name
    domains: Filled[Domain]
    vocabulary: Annotated[int, Field(ge=2)]
    iterations: Count
    max_frames: Count
    residual_of: Name | None = None

    @field_validator("max_frames")
    @classmethod
    def _fills_the_vocabulary(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("vocabulary", 0):
            raise ValueError(f"must be at least vocabulary {info.data['vocabulary']}: every centre needs a frame")
        return value


class Tokens(Strict):
    """Config A has the primary stream, ``speech`` and ``audio``; in Config B each domain's second one follows it."""

    config: Literal["A", "B"]
    speech: Stream
    audio: Stream
    second_speech: Stream
    second_audio: Stream
