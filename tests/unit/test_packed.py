"""Archives of several files: pinned one by one, from the hub, its cache or a folder, and read in memory."""

from __future__ import annotations

import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import packing
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save

from agrepa.archives import downloads, fetch, weights
from agrepa.artifacts.files import sha256
from agrepa.errors import ArtifactError, CorpusError, FetchError
from agrepa.params.archives import Archive

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b'{"width": 3}', "model.safetensors": save({"weight": torch.arange(3.0)}) + bytes(2_000_000)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of archives and an empty one of huggingface_hub."""
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(downloads, "BACKOFF_SECONDS", 0.01)
    return tmp_path / "cache"


@dataclass
class Hub:
    """A server of FILES at one revision: what it was asked for, and how many bytes it sends before it hangs up, once each."""

    asked: list[str] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append(f"{self.path} {wanted}".strip())
            content = FILES.get(self.path.removeprefix(f"/someone/network/resolve/{COMMIT}/"))
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = state.cuts.pop(0) if state.cuts and len(content) > 1000 else len(content)
            self.wfile.write(content[start:end])

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield state
    server.shutdown()
    server.server_close()


def pinned(**changes: Any) -> Archive:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    settings = {"kind": "hub", "package": "someone/network", "version": COMMIT, "file": "network.zip", "files": digests}
    rest = {"megabytes": 2, "role": "a test", "licence": "CC0", "attribution": "nobody"}
    return Archive(**(settings | rest | changes))


def test_files_of_the_hub_are_fetched_at_their_revision_resumed_and_packed(hub: Hub, cache: Path) -> None:
    hub.cuts = [1_500_000]
    got = fetch.fetch(pinned())
    address = f"/someone/network/resolve/{COMMIT}"
    assert hub.asked == [f"{address}/config.json", f"{address}/model.safetensors", f"{address}/model.safetensors bytes=1500000-"]
    with zipfile.ZipFile(got) as zipped:
        assert {name: zipped.read(name) for name in FILES} == FILES
    assert weights.identity(got) == {"package": "someone/network", "version": COMMIT, "files": pinned().files}
    assert sorted(path.name for path in cache.iterdir()) == [".network.zip.lock", "network.zip"]
    assert fetch.fetch(pinned()) == got and len(hub.asked) == 3


def test_the_same_files_make_the_same_archive_from_wherever_they_come(hub: Hub, cache: Path, tmp_path: Path) -> None:
    first = sha256(fetch.fetch(pinned()))
    (cache / "network.zip").unlink()
    snapshot = tmp_path / "hub" / "models--someone--network" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name, content in FILES.items():
        (snapshot / name).write_bytes(content)
    hub.asked.clear()
    assert sha256(fetch.fetch(pinned())) == first and not hub.asked


def test_what_arrived_whole_is_not_fetched_again(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FILES["config.json"]
    cache.mkdir()
    (cache / f".partial-{hashlib.sha256(config).hexdigest()}-config.json").write_bytes(config)
    fetch.fetch(pinned())
    assert [path.rpartition("/")[2] for path in hub.asked] == ["model.safetensors"]


def test_a_file_that_is_not_the_pinned_one_is_refused_and_left_nowhere(hub: Hub, cache: Path) -> None:
    wrong = pinned(files=dict(pinned().files or {}) | {"config.json": "0" * 64})
    found = hashlib.sha256(FILES["config.json"]).hexdigest()
    with pytest.raises(FetchError, match=rf"is not the pinned config.json: expected sha256 0{{64}}, found {found}"):
        fetch.fetch(wrong)
    assert [path.name for path in cache.iterdir()] == [".network.zip.lock"]


def test_offline_means_offline_and_says_how_to_get_the_files(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FetchError) as failure:
        fetch.fetch(pinned())
    assert not hub.asked
    for line in (
        f"cannot fetch someone/network {COMMIT}.",
        f"- the cache of huggingface_hub: lacks config.json, model.safetensors of someone/network at {COMMIT}",
        "- the hub: HF_HUB_OFFLINE is set, so that nothing is fetched from it",
        f"- where the hub can be reached: hf download someone/network config.json model.safetensors --revision {COMMIT} "
        "--local-dir FOLDER; then bring FOLDER here and pin it as kind folder with its path",
    ):
        assert line in str(failure.value).splitlines()


def test_a_folder_is_checked_and_what_it_lacks_is_named(tmp_path: Path) -> None:
    folder = packing.written(tmp_path / "network", **{name.replace(".", "__"): content for name, content in FILES.items()})
    archive = packing.archive(folder)
    got = packing.packed(folder)
    assert got.name == "network.zip" and weights.read_settings(got) == {"width": 3}
    (folder / "config.json").write_bytes(b"{}")
    (tmp_path / "cache" / "network.zip").unlink()
    with pytest.raises(FetchError, match=rf"{folder}/config.json is not the pinned config.json: expected sha256"):
        fetch.fetch(archive)
    assert (folder / "config.json").exists()
    (folder / "config.json").unlink()
    with pytest.raises(FetchError, match=rf"the folder {folder}: lacks config.json"):
        fetch.fetch(archive)


def test_an_archive_in_the_cache_that_was_pinned_otherwise_is_refused(hub: Hub, cache: Path) -> None:
    got = fetch.fetch(pinned())
    with pytest.raises(
        FetchError, match=r"network.zip .* is not the pinned file: model.safetensors: expected sha256 1{64}, found"
    ):
        fetch.fetch(pinned(files=dict(pinned().files or {}) | {"model.safetensors": "1" * 64}))
    assert not got.exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"version": "main"},
            "of a hub is its revision, 40 hex digits of a commit; branches and tags move: name the commit",
        ),
        ({"package": "network"}, "of a hub is its repository, owner/name: correct it"),
        ({"files": None}, "files, with the SHA-256 of each, are of a hub or a folder: it needs them, and nothing else has them"),
        ({"files": {"../config.json": "0" * 64}}, "'../config.json' is no name of a file inside it: correct it"),
        ({"sha256": "0" * 64}, "each of the files of a hub has its own hash: remove sha256 and md5"),
        ({"path": "somewhere"}, "path is where the files of a folder lie: a folder needs it, and nothing else has it"),
        ({"kind": "folder"}, "path is where the files of a folder lie: a folder needs it, and nothing else has it"),
        ({"file": "network.whl"}, "the file of a hub ends in .zip: change file or kind"),
    ],
)
def test_what_is_not_pinned_is_refused_at_load(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as failure:
        pinned(**changes)
    assert says in str(failure.value)


def test_a_revision_must_be_there() -> None:
    settings = {key: value for key, value in pinned().model_dump().items() if key != "version" and value is not None}
    with pytest.raises(ValidationError, match=r"version\n  Field required"):
        Archive(**settings)


class Foreign:
    """What a checkpoint of weights has no need of."""


def test_weights_are_read_without_unpickling(tmp_path: Path) -> None:
    tensors = {"weight": torch.arange(3.0)}
    both = packing.packed(packing.written(tmp_path / "both", model__safetensors=save(tensors), pytorch_model__bin={}))
    assert torch.equal(weights.read_weights(both, *weights.TRANSFORMERS)["weight"], tensors["weight"])
    torch_only = packing.packed(packing.written(tmp_path / "torch", pytorch_model__bin=tensors))
    assert torch.equal(weights.read_weights(torch_only, *weights.TRANSFORMERS)["weight"], tensors["weight"])
    foreign = packing.packed(packing.written(tmp_path / "foreign", pytorch_model__bin={"weight": Foreign()}))
    with pytest.raises(ArtifactError, match=r"foreign.zip: pytorch_model.bin is not a plain checkpoint of tensors"):
        weights.read_weights(foreign, *weights.TRANSFORMERS)
    with pytest.raises(ArtifactError, match=r"torch.zip has no config.json: name it, with its SHA-256, in the files of this"):
        weights.read_settings(torch_only)
    broken = packing.packed(packing.written(tmp_path / "broken", model__safetensors=b"no tensors at all"))
    with pytest.raises(ArtifactError, match=r"broken.zip: model.safetensors is not a safetensors file"):
        weights.read_weights(broken, *weights.TRANSFORMERS)
    with pytest.raises(CorpusError, match=r"nowhere.zip is missing: fetch it again"):
        weights.read_weights(tmp_path / "nowhere.zip", *weights.TRANSFORMERS)


def test_weights_must_be_all_of_the_network_and_no_others(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    with pytest.raises(ArtifactError, match=r"x.zip does not hold the weights of this kind of network: .*Missing key.* \"bias\""):
        weights.fill(network, {"weight": torch.zeros(2, 2)}, tmp_path / "x.zip")
    weights.fill(network, {"weight": torch.ones(2, 2).half(), "bias": torch.zeros(2)}, tmp_path / "x.zip")
    assert network.weight.dtype == torch.float32 and not network.weight.requires_grad and not network.training
