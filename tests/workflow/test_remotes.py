"""What one clone pushes to a DVC remote, another pulls, and has nothing left to run: a folder, and a server that speaks S3."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from shrunken import Workspace, ran_by_dvc

pytestmark = pytest.mark.slow
MADE = ["warmup/dit/seed0/checkpoint.safetensors", "arms/ag_repa/seed0/checkpoint.safetensors", "features/whisper/0.safetensors"]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The address of an S3 server on this machine and of a bucket on it."""
    server = pytest.importorskip("moto.server", reason="the S3 server of the test: pip install 'moto[server]'")
    pytest.importorskip("dvc_s3", reason="DVC's access to S3: pip install dvc-s3")
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="agrepa")
    yield endpoint, "s3://agrepa/cache"
    running.stop()


def shared(both: Workspace, folder: Path, *settings: tuple[str, ...]) -> Workspace:
    """A clone of a workspace whose remote, stated in the repository, has all that was made there."""
    space = both.copy(folder / "space")
    for words in settings:
        space.run("dvc", "remote", *words)
    space.commit("a remote")
    space.run("dvc", "push", "--quiet")
    clone = folder / "clone"
    space.run("git", "clone", "--quiet", str(space.folder), str(clone))
    other = both.at(clone)
    other.run("dvc", "pull", "--quiet")
    for name in MADE:
        path = f"work/demo/{name}"
        assert (other.folder / path).read_bytes() == (space.folder / path).read_bytes()
    return other


def test_a_clone_goes_on_from_a_shared_folder_and_has_nothing_left_to_run(both, tmp_path):
    other = shared(both, tmp_path, ("add", "--default", "shared", str(tmp_path / "remote")))
    shutil.copytree(both.folder / "downloads", other.folder / "downloads")
    assert not ran_by_dvc(other.run("dvc", "repro").stdout)


def test_a_clone_goes_on_from_a_bucket_and_downloads_what_anyone_can(both, tmp_path, bucket):
    endpoint, url = bucket
    settings = (("add", "--default", "shared", url), ("modify", "shared", "endpointurl", endpoint))
    other = shared(both, tmp_path, *settings)
    # A download's run card says when it was made, and is shown with the tables and on the page.
    assert set(ran_by_dvc(other.run("dvc", "repro").stdout)) <= {"fetch", "cards", "tables", "page"}
