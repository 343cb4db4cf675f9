"""Members of .deb, .zip, .whl, .pk3 and .tar archives, read in memory: nothing is installed and nothing is unpacked."""

from __future__ import annotations

import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from debian.arfile import ArError, ArFile

from agrepa.errors import CorpusError

SUFFIXES = (".deb", ".whl", ".tar", ".zip")  # of downloads, which are named by their archive
READABLE = (".xz", ".gz", ".bz2", "")
DAMAGED = (ArError, tarfile.TarError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, EOFError, OSError, ValueError)


def named(paths: list[Path]) -> dict[str, Path]:
    """Downloads by the name of their archive, which is their stem; inputs that are no downloads are passed over."""
    return {path.stem: path for path in paths if path.suffix in SUFFIXES}


def deb_members(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """The files of a Debian package whose path ``wanted`` accepts, by path (``usr/share/…``), sorted.

    Raises:
        CorpusError: the package is missing, damaged, or compressed in a way that Python cannot read; a member's path leads
            out of the package; a wanted member is a link; nothing is wanted.
    """
    suffix, data = _data_archive(path)
    if suffix not in READABLE:
        raise CorpusError(f"{path}: data.tar{suffix} needs a decompressor that Python 3.11 lacks: pin a package in xz or gzip")
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
            for member in archive:
                name = _safe(member.name, path)
                if member.isdir() or not wanted(name):
                    continue
                if not member.isreg():
                    raise CorpusError(f"{path}: member {member.name!r} is a link or a device, not a file: refused")
                stream = archive.extractfile(member)
                found[name] = stream.read() if stream else b""
    except DAMAGED as error:
        raise CorpusError(f"{path} is damaged ({error}): delete it and fetch it again") from None
    return _sorted(found, path)


def zip_members(source: Path | bytes, wanted: Callable[[str], bool], name: str | None = None) -> dict[str, bytes]:
    """The files of a zip archive whose path ``wanted`` accepts, by path, sorted.

    Args:
        source: the archive (.zip, .whl, .pk3), or its bytes where it lies inside another archive.
        name: what to call it in messages; the path by default.

    Raises CorpusError as ``deb_members`` does, and for an encrypted member.
    """
    name = name or (str(source) if isinstance(source, Path) else "zip in memory")
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            for info in archive.infolist():
                member = _safe(info.filename, name)
                if info.is_dir() or not wanted(member):
                    continue
                if stat.S_ISLNK(info.external_attr >> 16) or info.flag_bits & 1:
                    raise CorpusError(f"{name}: member {info.filename!r} is a link or encrypted, not a plain file: refused")
                found[member] = archive.read(info)
    except FileNotFoundError:
        raise CorpusError(f"{name} is missing: fetch it again") from None
    except DAMAGED as error:
        raise CorpusError(f"{name} is damaged ({error}): delete it and fetch it again") from None
    return _sorted(found, name)


def zip_member(source: Path | bytes, member: str, name: str | None = None) -> bytes:
    """One file of a zip archive; CorpusError as ``zip_members``, also when it is not there."""
    return zip_members(source, lambda path: path == member, name)[member]


def tar_files(path: Path) -> Iterator[tuple[str, int, int]]:
    """Path, offset in bytes and size of every file of an uncompressed tar archive, in its order; only headers are read.

    Raises CorpusError when the archive is missing, damaged or cut off, a member's path leads out of it, or a member is a link.
    """
    try:
        with tarfile.open(path, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep every header, of hundreds of thousands of files
                name = _safe(member.name, path)
                if member.isdir():
                    continue
                if not member.isreg():
                    raise CorpusError(f"{path}: member {member.name!r} is a link or a device, not a file: refused")
                yield name, member.offset_data, member.size
            read_at(path, archive.offset, tarfile.BLOCKSIZE)  # an archive ends in empty blocks: without one it was cut off
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing: fetch it again") from None
    except DAMAGED as error:
        raise CorpusError(f"{path} is damaged ({error}): delete it and fetch it again") from None


def read_at(path: Path, offset: int, size: int) -> bytes:
    """A file of an uncompressed tar archive, or its beginning; CorpusError when the archive is missing or ends before it."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(size)
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing: fetch it again") from None
    if len(data) < size:
        raise CorpusError(f"{path} is damaged (it ends within the {size} bytes at {offset}): delete it and fetch it again")
    return data


def _data_archive(path: Path) -> tuple[str, bytes]:
    """The compression suffix and the bytes of ``data.tar.*`` in a .deb, which is an ``ar`` archive."""
    try:
        with path.open("rb") as stream:
            for member in ArFile(fileobj=stream):
                if member.name.startswith("data.tar"):
                    data = member.read()
                    if len(data) < member.size:
                        raise EOFError(f"it ends after {len(data)} of the {member.size} bytes of {member.name}")
                    return member.name.removeprefix("data.tar"), data
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing: fetch it again") from None
    except ArError:
        raise CorpusError(f"{path} is not a Debian package: delete it and fetch it again") from None
    except DAMAGED as error:
        raise CorpusError(f"{path} is damaged ({error}): delete it and fetch it again") from None
    raise CorpusError(f"{path} is damaged (it has no data.tar): delete it and fetch it again")


def _safe(member: str, archive: Path | str) -> str:
    """The member's path without a leading ``./``."""
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts[:1] and path.parts[0].endswith(":")):
        raise CorpusError(f"{archive}: member {member!r} leads out of the archive's own folder: refused")
    return str(path)


def _sorted(found: dict[str, bytes], archive: Path | str) -> dict[str, bytes]:
    if not found:
        raise CorpusError(f"{archive} has none of the files that are read from it: is it the pinned archive?")
    return dict(sorted(found.items()))
