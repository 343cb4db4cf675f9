"""Pinned downloads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agrepa.params.base import Positive, Strict, Text, is_none

SUFFIX = {"deb": ".deb", "wheel": ".whl", "tar": ".tar.gz"}


class Archive(Strict):
    """A pinned download: ``deb`` through apt, ``wheel`` through pip, ``tar`` from its own address.

    Its hash is ``sha256``, or ``md5`` where its publisher states no other.
    """

    kind: Literal["deb", "wheel", "tar"]
    package: Text
    version: Text
    file: Text
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$", exclude_if=is_none)] = None
    md5: Annotated[str | None, Field(pattern=r"^[0-9a-f]{32}$", exclude_if=is_none)] = None
    megabytes: Positive
    pool: Text | None = None
    address: Annotated[str | None, Field(pattern=r"^(https?|file)://", exclude_if=is_none)] = None
    role: Text
    licence: Text
    attribution: Text

    @field_validator("file")
    @classmethod
    def _of_its_kind(cls, value: str, info: ValidationInfo) -> str:
        if not value.endswith(suffix := SUFFIX.get(info.data.get("kind", ""), "")):
            raise ValueError(f"the file of a {info.data['kind']} ends in {suffix}: change file or kind")
        return value

    @model_validator(mode="after")
    def _can_be_had_and_checked(self) -> Archive:
        if (self.sha256 is None) == (self.md5 is None):
            raise ValueError("needs one hash to be checked by: sha256, or md5 where its publisher states no other")
        if (self.kind == "tar") != (self.address is not None):
            raise ValueError("address is where a tar is fetched from: a tar needs it, and nothing else has it")
        return self

    @property
    def pinned(self) -> tuple[str, str]:
        """The name of the hash that is checked, and what it must be."""
        return ("sha256", self.sha256) if self.sha256 else ("md5", str(self.md5))
