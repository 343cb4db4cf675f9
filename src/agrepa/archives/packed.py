"""Archives of several files: each is checked by its SHA-256, and all are packed into one zip, which ``weights.py`` reads.

Three ways to the files: the cache of huggingface_hub, the hub's own address (or HF_ENDPOINT) with the project's downloader, and a
folder of this machine. HF_HUB_OFFLINE keeps the second one shut.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agrepa.archives import downloads
from agrepa.archives.downloads import Failed
from agrepa.archives.weights import IDENTITY
from agrepa.artifacts.files import sha256

if TYPE_CHECKING:
    from agrepa.params.archives import Archive

ENDPOINT = "https://huggingface.co"
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
TRUE = ("1", "ON", "YES", "TRUE")
BLOCK = 1 << 20  # bytes that are packed at a time
DATE = (1980, 1, 1, 0, 0, 0)  # of every member, so that the same files give the same archive


def from_hub_cache(archive: Archive, scratch: Path, cache: Path) -> Path:
    """The files that huggingface_hub has fetched on this machine, of the pinned revision."""
    from huggingface_hub import try_to_load_from_cache

    found = {name: try_to_load_from_cache(archive.package, name, revision=archive.version) for name in _files(archive)}
    if missing := [name for name, path in found.items() if not isinstance(path, str)]:
        raise Failed(f"the cache of huggingface_hub: lacks {', '.join(missing)} of {archive.package} at {archive.version}")
    return _pack(archive, {name: Path(str(path)) for name, path in found.items()}, scratch)


def from_hub(archive: Archive, scratch: Path, cache: Path) -> Path:
    """The files from ``<hub>/<repository>/resolve/<revision>/<file>``, each going on where an attempt before it ended."""
    if stated := next((name for name in OFFLINE if os.environ.get(name, "").upper() in TRUE), None):
        raise Failed(f"the hub: {stated} is set, so that nothing is fetched from it")
    hub, arrived = os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/"), {}
    if not hub.startswith(downloads.SCHEMES):
        raise Failed(f"the hub: HF_ENDPOINT is {hub!r} and must start with one of {', '.join(downloads.SCHEMES)}")
    for name, digest in _files(archive).items():
        address, label = f"{hub}/{archive.package}/resolve/{archive.version}/{name}", f"{digest}-{Path(name).name}"
        whole = cache / f".partial-{label}"  # when another of the files did not arrive
        if not (whole.exists() and sha256(whole) == digest):
            whole = downloads.from_http(address, label, archive.megabytes, cache)
        arrived[name] = whole
    try:
        return _pack(archive, arrived, scratch)
    finally:  # packed, or not what was pinned
        for partial in arrived.values():
            partial.unlink()


def from_folder(archive: Archive, scratch: Path, cache: Path) -> Path:
    """The files as they lie in the folder ``path``."""
    folder = Path(str(archive.path)).expanduser()
    found = {name: folder / name for name in _files(archive)}
    if missing := [name for name, path in found.items() if not path.is_file()]:
        raise Failed(f"the folder {folder}: lacks {', '.join(missing)}")
    return _pack(archive, found, scratch)


def mismatches(archive: Archive, packed: Path) -> Iterator[str]:
    """What of a packed archive is not what was pinned."""
    try:
        with zipfile.ZipFile(packed) as zipped:
            for name, digest in _files(archive).items():
                with zipped.open(name) as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
                if found != digest:
                    yield f"{name}: expected sha256 {digest}, found {found}"
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        yield f"it is damaged or another ({error})"


def _files(archive: Archive) -> dict[str, str]:
    """Name -> hash; none is missing, or the archive would not be fetched."""
    return {name: str(digest) for name, digest in (archive.files or {}).items()}


def _pack(archive: Archive, found: dict[str, Path], scratch: Path) -> Path:
    """One zip of the files, uncompressed, with the identity of the archive; Failed when a hash is not the pinned one."""
    target = scratch / archive.file
    for name, digest in _files(archive).items():
        if (actual := sha256(found[name])) != digest:
            raise Failed(f"{found[name]} is not the pinned {name}: expected sha256 {digest}, found {actual}")
    about = {"package": archive.package, "version": archive.version, "files": dict(sorted(_files(archive).items()))}
    with zipfile.ZipFile(target, "w") as zipped:
        zipped.writestr(zipfile.ZipInfo(IDENTITY, DATE), json.dumps(about, indent=1))
        for name, path in sorted(found.items()):
            with path.open("rb") as source, zipped.open(zipfile.ZipInfo(name, DATE), "w", force_zip64=True) as stream:
                shutil.copyfileobj(source, stream, BLOCK)
    return target
