"""Recordings: where they come from, how they are brought to one form, and how many each split takes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agrepa.params.base import (
    Count,
    Distinct,
    Domains,
    Inside,
    Name,
    Nonnegative,
    Part,
    Positive,
    Strict,
    Text,
    Whole,
    is_none,
)

FOLDER = "folder"  # the kind of source that reads a person's own recordings
PUBLISHED = ("root", "subsets", "pairs", "without", "tolerate")  # keys that a kind has if its module's KEYS name them
OWN = ("csv", "split_by", "split_seed", "shares", "shared_texts")  # the keys of such a source alone


def _is_empty(value: Any) -> bool:
    return not value


class Shares(Strict):
    """What part of the own recordings each split gets where the CSV does not say."""

    train: Inside = 0.8
    validation: Inside = 0.1
    test: Inside = 0.1

    @model_validator(mode="after")
    def _is_a_whole(self) -> Shares:
        if abs((total := self.train + self.validation + self.test) - 1) > 1e-6:
            raise ValueError(f"the shares add up to {total:g}: let them add up to 1")
        return self


class Subsets(Strict):
    """Which parts of a published corpus each split takes, by their published names.

    One that validation and test both name is divided between them by the hash of each family's name.
    """

    train: Distinct[Text] = []
    validation: Distinct[Text] = []
    test: Distinct[Text] = []

    @model_validator(mode="after")
    def _held_out(self) -> Subsets:
        if not (self.train or self.validation or self.test):
            raise ValueError("names no part of the corpus: name those of train, validation and test")
        if shared := sorted({*self.train} & {*self.validation, *self.test}):
            raise ValueError(f"{', '.join(shared)} is trained and evaluated on: name it for one of them")
        return self


class Source(Strict):
    """A corpus: a module of ``agrepa.corpora`` and the archives, the folder or the CSV of own recordings that it reads.

    ``root`` is a folder in the corpus's published layout, ``subsets`` says which of its parts are in which split, ``pairs`` is
    a list of the test utterances with their prompts, ``without`` names labels whose clips are left out, and ``tolerate`` is the
    part of the clips that may be missing or unreadable.

    The keys behind ``csv`` are of own recordings alone, and say what happens where the CSV gives no split (``split_by``,
    ``split_seed``, ``shares``) and where two splits would share a transcript (``shared_texts``).
    """

    kind: Name
    archives: Distinct[Name] = []
    csv: Text | None = None
    split_by: Literal["speaker", "utterance"] | None = None
    split_seed: Whole = 0
    shares: Shares = Shares()
    shared_texts: Literal["refuse", "move", "drop"] = "refuse"
    root: Annotated[Text | None, Field(exclude_if=is_none)] = None
    subsets: Annotated[Subsets | None, Field(exclude_if=is_none)] = None
    pairs: Annotated[Text | None, Field(exclude_if=is_none)] = None
    without: Annotated[Distinct[Text], Field(exclude_if=_is_empty)] = []
    tolerate: Annotated[Part, Field(exclude_if=_is_empty)] = 0.0

    @property
    def own(self) -> bool:
        """Whether it reads files that are no downloads, which its module then lists."""
        return any((self.csv, self.root, self.pairs))

    @model_validator(mode="after")
    def _has_recordings(self) -> Source:
        if self.kind == FOLDER and (self.csv is None or self.archives):
            raise ValueError("a source of kind folder needs csv, the path of the CSV that lists your recordings, and no archives")
        if self.kind != FOLDER and (own := self._changed(OWN)):
            keys, verb = " and ".join(own), "belongs" if len(own) == 1 else "belong"
            raise ValueError(f"{keys} {verb} to kind folder and only to it, not to {self.kind}: remove {keys} or change kind")
        if self.kind != FOLDER and not self.archives and self.root is None:
            raise ValueError(f"a source of kind {self.kind} needs archives, the names of its downloads in archives.yaml")
        if self.archives and self.root is not None:
            raise ValueError("archives and root both say where the recordings are: remove one")
        return self

    @model_validator(mode="after")
    def _splits(self) -> Source:
        if self.split_by is None and (drawn := self._changed(("split_seed", "shares"))):
            keys, verb = " and ".join(drawn), "needs" if len(drawn) == 1 else "need"
            raise ValueError(f"{keys} {verb} split_by, speaker or utterance: add it, or remove {keys}")
        if self.shared_texts == "move" and self.split_by != "utterance":
            raise ValueError(
                f"shared_texts 'move' parts the utterances of a speaker, and split_by is {self.split_by or 'not set'}: "
                "use shared_texts: drop, or split_by: utterance"
            )
        return self

    def published(self) -> list[str]:
        """The keys of PUBLISHED that are set."""
        return self._changed(PUBLISHED)

    def _changed(self, keys: tuple[str, ...]) -> list[str]:
        """Those that are not as they are without being named."""
        return [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]


class Split(Strict):
    """How many clips of each domain a split takes at most; null takes all there are, 0 leaves the domain out."""

    speech: Count | None
    audio: Whole | None


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

    @property
    def domains(self) -> Domains:
        """The domains that clips are asked of, in their usual order: speech, and audio unless the training split has none."""
        return ("speech", "audio") if self.train.audio != 0 else ("speech",)

    @model_validator(mode="after")
    def _in_every_split(self) -> Corpora:
        asked = {name: getattr(self, name).audio != 0 for name in ("train", "validation", "test")}
        if len(set(asked.values())) > 1:
            some, none = ([f"{name}.audio" for name, value in asked.items() if value is wanted] for wanted in (True, False))
            raise ValueError(
                f"{' and '.join(none)} {'is' if len(none) == 1 else 'are'} 0 and {' and '.join(some)} not: "
                "set audio to 0 in every split for an experiment on speech alone, or in none"
            )
        return self

    @field_validator("sources")
    @classmethod
    def _read_once(cls, value: dict[str, Source]) -> dict[str, Source]:
        names = list(value)
        for i, name in enumerate(names):
            if same := [other for other in names[:i] if _recordings(value[other]) == _recordings(value[name])]:
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


def _recordings(source: Source) -> tuple[str, list[str], str | None, str | None, Subsets | None]:
    return source.kind, source.archives, source.csv, source.root, source.subsets
