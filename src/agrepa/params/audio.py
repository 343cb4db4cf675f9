"""The spectrogram that the model makes, and the vocoder that turns it into sound."""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationInfo, field_validator

from agrepa.params.base import Count, Name, Nonnegative, Positive, Strict


class Mel(Strict):
    """The log-mel spectrogram, and whether it is standardised band by band or as a whole."""

    n_fft: Count
    hop: Count
    bands: Count
    f_min: Nonnegative
    f_max: Positive
    scale: Literal["htk", "slaney"]
    norm: Literal["slaney"] | None
    padding: Literal["center", "same"]
    floor: Positive
    statistics: Literal["bands", "global"]

    @field_validator("hop")
    @classmethod
    def _overlaps(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("n_fft", value):
            raise ValueError(f"must be at most n_fft {info.data['n_fft']}: what lies between two windows would be lost")
        return value

    @field_validator("bands")
    @classmethod
    def _has_bins(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("n_fft", 2 * value) // 2:
            raise ValueError(f"must be at most half of n_fft {info.data['n_fft']}: a band needs a frequency of its own")
        return value

    @field_validator("f_max")
    @classmethod
    def _above_f_min(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("f_min", 0):
            raise ValueError(f"must be above f_min {info.data['f_min']}")
        return value


class Vocoder(Strict):
    """A module of ``agrepa.audio.vocoders``; ``iterations`` are of Griffin-Lim, ``archive`` is what a network is read from."""

    kind: Name
    iterations: Count = 32
    archive: Name | None = None
