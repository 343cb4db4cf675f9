"""How models are heard: which clips, how they are made, and by which judges."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, field_validator

from agrepa.params.audio import Vocoder
from agrepa.params.base import Count, Evaluated, Filled, Fraction, Name, Nonnegative, Positive, Strict, Whole, is_none

FEWEST_CLIPS = 3  # FAD is extrapolated along a line, which fewer clips do not give


class Sampling(Strict):
    steps: Count
    guidance: Nonnegative
    sway: Annotated[float, Field(ge=-1, le=2 / (math.pi - 2))]
    temperature: Nonnegative


class Prompt(Strict):
    """The reference before an utterance: another one of the same speaker, of at most so many seconds."""

    seconds: Positive


class Judge(Strict):
    """The recogniser that WER is measured with, and the guards that hold it."""

    archive: Name
    beam_size: Count
    temperatures: Filled[Fraction]
    compression_ratio: Positive
    log_probability: float
    max_tokens_per_second: Positive


class SecondJudge(Strict):
    """A recogniser by CTC, whose WER stands beside the first one's: no language model, no decoder that could invent text."""

    archive: Name


class Similarity(Strict):
    """The network whose speaker vectors of synthesised speech and of the prompt's own recording are compared."""

    archive: Name


class Mos(Strict):
    """The network that predicts opinion scores."""

    archive: Name


class Frechet(Strict):
    """``embeddings`` are encoders that keep frames of their output ``embedding``."""

    embeddings: Filled[Name]
    reference_clips: Annotated[int, Field(ge=2)]
    subset_sizes: Annotated[int, Field(ge=2)]
    bootstrap: Count


class Evaluation(Strict):
    """All rows, anchors and arms, are made of the same clips: the first of each list of the split.

    Of the unseen list there are none or two at least, because the control gives a clip another one's tokens.
    """

    split: Evaluated
    speech_clips: Annotated[int, Field(ge=FEWEST_CLIPS)]
    unseen_clips: Whole
    audio_clips: Whole
    vocoder: Vocoder
    sampling: Sampling
    prompt: Prompt | None
    judge: Judge
    second_judge: Annotated[SecondJudge | None, Field(exclude_if=is_none)] = None
    mos: Mos
    similarity: Annotated[Similarity | None, Field(exclude_if=is_none)] = None
    frechet: Frechet

    @field_validator("unseen_clips")
    @classmethod
    def _has_another(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one clip has no other whose tokens the control could be given: take more, or 0 for none")
        return value
