"""Pinned downloads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from agrepa.params.base import Positive, Strict, Text

SUFFIX = {"deb": ".deb", "wheel": ".whl"}


class Archive(Strict):
    """A pinned download: ``deb`` through apt, ``wheel`` through pip."""

    kind: Literal["deb", "wheel"]
    package: Text
    version: Text
    file: Text
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    megabytes: Positive
    pool: Text | None = None
    role: Text
    licence: Text
    attribution: Text

    @field_validator("file")
    @classmethod
    def _of_its_kind(cls, value: str, info: ValidationInfo) -> str:
        if not value.endswith(suffix := SUFFIX.get(info.data.get("kind", ""), "")):
            raise ValueError(f"the file of a {info.data['kind']} ends in {suffix}: change file or kind")
        return value
