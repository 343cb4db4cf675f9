"""Pinned downloads."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agrepa.params.base import Positive, Strict, Text, is_none

SUFFIX = {"deb": ".deb", "wheel": ".whl", "tar": ".tar.gz", "hub": ".zip", "folder": ".zip"}
UNPINNED = "unpinned"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Archive(Strict):
    """A pinned download: ``deb`` through apt, ``wheel`` through pip, ``tar`` from its own address.

    Its hash is ``sha256``, or ``md5`` where its publisher states no other. Two kinds are ``files`` with a SHA-256 each, packed
    into ``file`` once they are checked: ``hub``, of the repository ``package`` of the Hugging Face hub at the commit ``version``,
    and ``folder``, from the folder ``path`` of this machine. Of these, a version ``unpinned`` and a file without its hash can be
    planned with and not be fetched.
    """

    kind: Literal["deb", "wheel", "tar", "hub", "folder"]
    package: Text
    version: Text
    file: Text
    files: Annotated[dict[str, Sha256 | None] | None, Field(min_length=1, exclude_if=is_none)] = None
    sha256: Annotated[Sha256 | None, Field(exclude_if=is_none)] = None
    md5: Annotated[str | None, Field(pattern=r"^[0-9a-f]{32}$", exclude_if=is_none)] = None
    megabytes: Positive
    pool: Text | None = None
    address: Annotated[str | None, Field(pattern=r"^(https?|file)://", exclude_if=is_none)] = None
    path: Annotated[Text | None, Field(exclude_if=is_none)] = None
    role: Text
    licence: Text
    attribution: Text

    @field_validator("package")
    @classmethod
    def _is_a_repository(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("kind") == "hub" and not re.fullmatch(r"[\w.-]+/[\w.-]+", value):
            raise ValueError("of a hub is its repository, owner/name: correct it")
        return value

    @field_validator("version")
    @classmethod
    def _is_a_revision(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("kind") == "hub" and value != UNPINNED and not re.fullmatch(r"[0-9a-f]{40}", value):
            raise ValueError(
                "of a hub is its revision, 40 hex digits of a commit; branches and tags move: name the commit, or unpinned"
            )
        return value

    @field_validator("file")
    @classmethod
    def _of_its_kind(cls, value: str, info: ValidationInfo) -> str:
        if not value.endswith(suffix := SUFFIX.get(info.data.get("kind", ""), "")):
            raise ValueError(f"the file of a {info.data['kind']} ends in {suffix}: change file or kind")
        return value

    @field_validator("files")
    @classmethod
    def _are_inside(cls, value: dict[str, str | None] | None) -> dict[str, str | None] | None:
        for name in value or ():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name:
                raise ValueError(f"{name!r} is no name of a file inside it: correct it")
        return value

    @model_validator(mode="after")
    def _can_be_had_and_checked(self) -> Archive:
        if self.packed != (self.files is not None):
            raise ValueError(
                "files, with the SHA-256 of each, are of a hub or a folder: it needs them, and nothing else has them"
            )
        if self.packed and (self.sha256 or self.md5):
            raise ValueError(f"each of the files of a {self.kind} has its own hash: remove sha256 and md5")
        if not self.packed and (self.sha256 is None) == (self.md5 is None):
            raise ValueError("needs one hash to be checked by: sha256, or md5 where its publisher states no other")
        if (self.kind == "tar") != (self.address is not None):
            raise ValueError("address is where a tar is fetched from: a tar needs it, and nothing else has it")
        if (self.kind == "folder") != (self.path is not None):
            raise ValueError("path is where the files of a folder lie: a folder needs it, and nothing else has it")
        return self

    @property
    def packed(self) -> bool:
        """Whether it is several files, which are packed into one."""
        return self.kind in ("hub", "folder")

    @property
    def unpinned(self) -> list[str]:
        """What has to be pinned before it can be fetched: a hub's version, files without a hash."""
        version = ["version"] if self.kind == "hub" and self.version == UNPINNED else []
        return version + [name for name, digest in (self.files or {}).items() if digest is None]

    @property
    def pinned(self) -> tuple[str, str]:
        """The name of the hash that is checked, and what it must be; of several files, that of their list by sha256sum."""
        if self.unpinned:
            return "sha256", UNPINNED
        if self.files:
            listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.files.items()))
            return "sha256", hashlib.sha256(listed.encode()).hexdigest()
        return ("sha256", self.sha256) if self.sha256 else ("md5", str(self.md5))
