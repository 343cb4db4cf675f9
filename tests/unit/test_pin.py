"""What pins an archive, from a server that answers as the hub does and from a folder; and what is refused until then."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agrepa.archives import fetch
from agrepa.archives.pin import pin
from agrepa.errors import FetchError
from agrepa.params.archives import Archive

COMMIT = "0123456789abcdef" * 2 + "01234567"
CONFIG, LARGE = b'{"layers": 2}', "ab" * 32


def archive(**changes: Any) -> Archive:
    files = {"config.json": None, "model.safetensors": None}
    settings = {"kind": "hub", "package": "someone/network", "version": "unpinned", "file": "network.zip", "files": files}
    return Archive(**(settings | {"megabytes": 1, "role": "a test", "licence": "CC0", "attribution": "nobody"} | changes))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server of one repository; gives the paths that it was asked for."""
    asked: list[str] = []
    large = {"rfilename": "model.safetensors", "size": 9, "lfs": {"sha256": LARGE, "size": 9, "pointerSize": 1}}
    told = {"id": "someone/network", "sha": COMMIT, "siblings": [{"rfilename": "config.json", "size": 13}, large]}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.partition("?")[0])
            body = json.dumps(told).encode() if self.path.startswith("/api/models/someone/network") else CONFIG
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"' + hashlib.sha1(body, usedforsecurity=False).hexdigest() + '"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield asked
    server.shutdown()
    server.server_close()


def test_a_hub_is_pinned_at_its_commit_and_large_files_are_not_downloaded(hub: list[str]) -> None:
    found = pin(archive())
    digests = {"config.json": hashlib.sha256(CONFIG).hexdigest(), "model.safetensors": LARGE}
    assert found == {"version": COMMIT, "files": digests}
    assert not any(path.endswith("model.safetensors") for path in hub)
    assert archive(**found).unpinned == []


def test_a_file_that_the_hub_lacks_is_named(hub: list[str]) -> None:
    with pytest.raises(FetchError, match=f"someone/network at {COMMIT} lacks vocab.json: correct files"):
        pin(archive(files={"vocab.json": None}))


def test_a_folder_is_pinned_by_the_hashes_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(CONFIG)
    there = archive(kind="folder", version="of today", path=str(tmp_path), files={"config.json": None})
    assert pin(there) == {"version": "of today", "files": {"config.json": hashlib.sha256(CONFIG).hexdigest()}}
    with pytest.raises(FetchError, match=r"lacks model\.safetensors: correct path or files"):
        pin(there.model_copy(update={"files": {"model.safetensors": None}}))


def test_what_is_not_pinned_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[str]) -> None:
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path))
    assert archive().pinned == ("sha256", "unpinned")
    with pytest.raises(FetchError, match=r"version, config\.json, model\.safetensors is not pinned in archives\.yaml"):
        fetch.fetch(archive())
    assert not hub
