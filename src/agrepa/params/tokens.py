"""Codebooks and the token sequences that are made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agrepa.params.base import Count, Domain, Filled, Name, Strict, is_none

KMEANS = "kmeans"


def is_kmeans(value: Any) -> bool:
    """For ``exclude_if``: the codebook that there was before there were others."""
    return bool(value == KMEANS)


class Stream(Strict):
    """A codebook of ``vocabulary`` codes over one encoder's output, fitted on ``domains`` of the training split.

    ``codebook`` is ``kmeans``; ``vq``, centres learnt by exponential moving averages; or ``given``, for an output that is codes
    already. The first two are fitted in at most ``iterations`` passes over ``max_frames`` frames. With ``residual_of``, a primary
    stream of the same frames, they are fitted on what that stream's centres leave of them.
    """

    encoder: Name
    output: Name
    domains: Filled[Domain]
    vocabulary: Annotated[int, Field(ge=2)]
    iterations: Annotated[Count | None, Field(exclude_if=is_none)] = None
    max_frames: Annotated[Count | None, Field(exclude_if=is_none)] = None
    residual_of: Name | None = None
    codebook: Annotated[Literal["kmeans", "vq", "given"], Field(exclude_if=is_kmeans)] = "kmeans"

    @field_validator("max_frames")
    @classmethod
    def _fills_the_vocabulary(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value < info.data.get("vocabulary", 0):
            raise ValueError(f"must be at least vocabulary {info.data['vocabulary']}: every centre needs a frame")
        return value

    @model_validator(mode="after")
    def _is_fitted_or_given(self) -> Stream:
        fitted = {"iterations": self.iterations, "max_frames": self.max_frames}
        if self.codebook != "given" and (missing := [key for key, value in fitted.items() if value is None]):
            raise ValueError(f"a codebook that is fitted needs {' and '.join(missing)}: add it")
        there = [key for key, value in (fitted | {"residual_of": self.residual_of}).items() if value is not None]
        if self.codebook == "given" and there:
            raise ValueError(f"codes that are given are not fitted: remove {' and '.join(there)}")
        return self


class Tokens(Strict):
    """Config A has the primary stream, ``speech`` and ``audio``; in Config B each domain's second one follows it."""

    config: Literal["A", "B"]
    speech: Stream
    audio: Stream
    second_speech: Stream
    second_audio: Stream
