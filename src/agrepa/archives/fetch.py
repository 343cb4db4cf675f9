"""The fetch stage: pinned archives out of the cache, or downloaded into it and checked."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from agrepa.archives import downloads, packed
from agrepa.errors import FetchError
from agrepa.job import Out, Wildcard

if TYPE_CHECKING:
    from agrepa.params.archives import Archive
    from agrepa.params.stages import FetchSettings

WAYS = {
    "wheel": (downloads.from_pip,),
    "deb": (downloads.from_apt, downloads.from_mirror),
    "tar": (downloads.from_address,),
    "hub": (packed.from_hub_cache, packed.from_hub),
    "folder": (packed.from_folder,),
}
BLOCK = 1 << 20  # bytes that are unpacked at a time


def run(p: FetchSettings, *, archive: Wildcard, out: Out) -> None:
    """Download one pinned archive and check its hash.

    ``out`` is a copy of what the cache has: a link would share its time with every other checkout, and engines go by it.
    Of a ``tar`` it is the archive without its compression, in which any file can be read without those before it.

    Raises FetchError as ``fetch`` does.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    got = fetch(p.archive)
    if p.archive.kind != "tar":
        shutil.copyfile(got, out)
        return
    try:
        with gzip.open(got, "rb") as compressed, out.open("wb") as stream:
            shutil.copyfileobj(compressed, stream, BLOCK)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FetchError(f"{got}: is the pinned file, and no archive in gzip ({error}): correct file and hash") from None


def cache_folder() -> Path:
    """Where archives are kept between runs: AGREPA_CACHE, or ``agrepa`` in XDG_CACHE_HOME or ``~/.cache``."""
    if chosen := os.environ.get("AGREPA_CACHE"):
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser().resolve() / "agrepa"


def fetch(archive: Archive) -> Path:
    """The path of a pinned archive, in the cache, whose content is the pinned one; downloads it when the cache lacks it.

    A file appears under its name only once it is complete and checked, so that no killed or failed run leaves a bad one.

    Raises:
        FetchError: it is not pinned, nothing that was tried got it, or its hash is another; then the file is deleted.
    """
    if archive.unpinned:
        raise FetchError(
            f"{archive.package}: {', '.join(archive.unpinned)} is not pinned in archives.yaml: `agrepa pin` with the name of the "
            "archive prints what to write there"
        )
    cache = cache_folder()
    target = cache / archive.file
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f".{archive.file}.lock"):  # keeps out other processes that want the same archive
        if target.exists():
            return _verified(target, archive)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as scratch:
            _verified(_download(archive, Path(scratch), cache), archive).replace(target)
    return target


def _download(archive: Archive, scratch: Path, cache: Path) -> Path:
    tried = []
    for way in WAYS[archive.kind]:
        started = time.monotonic()
        try:
            got = way(archive, scratch, cache)
        except downloads.Failed as failure:
            tried.append(str(failure))
        else:
            print(f"fetched {archive.file} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            return got
    remedies = [] if archive.packed else [f"put the file {archive.file} with {' '.join(archive.pinned)} into {cache}"]
    names = " ".join(archive.files or ())
    if archive.kind == "hub":
        command = f"hf download {archive.package} {names} --revision {archive.version} --local-dir FOLDER"
        remedies.append(
            f"where the hub can be reached: {command}; then bring FOLDER here and pin it as kind folder with its path"
        )
    elif archive.kind == "folder":
        remedies.append(f"put {names} with the pinned hashes there, or correct path or files in archives.yaml")
    elif archive.kind == "deb":
        remedies.append(f"set {downloads.MIRROR} to the base address of any Debian mirror; the file is {archive.pool} there")
    elif archive.kind == "wheel":
        remedies.append(f"let pip reach an index that has {archive.package} {archive.version}")
    lines = ["Tried:", *(f"- {way}" for way in tried), "Remedies:", *(f"- {remedy}" for remedy in remedies)]
    raise FetchError(f"cannot fetch {archive.package} {archive.version}.\n" + "\n".join(lines))


def _verified(path: Path, archive: Archive) -> Path:
    if wrong := "; ".join(_mismatches(path, archive)):
        path.unlink()
        raise FetchError(
            f"{archive.file} ({archive.package} {archive.version}) is not the pinned file: {wrong}. "
            f"It was deleted ({path}): fetch it again, from another index or mirror if that does not help"
        )
    return path


def _mismatches(path: Path, archive: Archive) -> Iterator[str]:
    if archive.packed:
        yield from packed.mismatches(archive, path)
        return
    name, expected = archive.pinned
    with path.open("rb") as stream:
        # MD5 keeps out damage and mix-ups, not a forger: it stands where a publisher states nothing better.
        found = hashlib.file_digest(stream, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()
    if found != expected:
        yield f"expected {name} {expected}, found {found}"
