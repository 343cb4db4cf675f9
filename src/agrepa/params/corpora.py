"""Recordings: where they come from, how they are brought to one form, and how many each split takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agrepa.params.base import Count, Distinct, Name, Nonnegative, Positive, Strict, Text, Whole

FOLDER = "folder"  # the kind of source that reads a person's own recordings


class Source(Strict):
    """A corpus: a module of ``agrepa.corpora`` and the archives, or the CSV of own recordings, that it reads."""

    kind: Name
    archives: Distinct[Name] = []
    csv: Text | None = None

    @model_validator(mode="after")
    def _has_recordings(self) -> Source:
        if self.kind == FOLDER and (self.csv is None or self.archives):
            raise ValueError("a source of kind folder needs csv, the path of the CSV that lists your recordings, and no archives")
        if self.kind != FOLDER and self.csv is not None:
            raise ValueError(f"csv belongs to kind folder and only to it, not to {self.kind}: remove csv or change kind")
        if self.kind != FOLDER and not self.archives:
            raise ValueError(f"a source of kind {self.kind} needs archives, the names of its downloads in archives.yaml")
        return self


class Split(Strict):
    """How many clips of each domain a split takes at most; null takes all there are."""

    speech: Count | None
    audio: Count | None


class HeldOut(Split):
    """A split that is evaluated on: its ``speech`` is the main list, by utterance; ``unseen`` is a list of its own, of speakers
    that training never hears.
    """

    unseen: Whole | None = 0


class Corpora(Strict):
    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    reserve: Nonnegative
    sample_rate: Literal[16000, 22050, 24000]
    bandwidth_hz: Positive
    min_seconds: Positive
    max_seconds: Positive
    train: Split
    validation: HeldOut
    test: HeldOut

    @field_validator("sources")
    @classmethod
    def _read_once(cls, value: dict[str, Source]) -> dict[str, Source]:
        names = list(value)
        for i, name in enumerate(names):
            if same := [other for other in names[:i] if value[other] == value[name]]:
                raise ValueError(f"{same[0]} and {name} read the same recordings: remove one")
        return value

    @field_validator("bandwidth_hz")
    @classmethod
    def _below_nyquist(cls, value: float, info: ValidationInfo) -> float:
        if value > (rate := info.data.get("sample_rate", float("inf"))) / 2:
            raise ValueError(f"is above half the sample rate {rate}: lower it")
        return value

    @field_validator("max_seconds")
    @classmethod
    def _above_min(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("min_seconds", 0):
            raise ValueError(f"must be above min_seconds {info.data['min_seconds']}")
        return value
