"""The sounds of four Debian packages, and what each package says of them: a caption, an origin, a licence and an author."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agrepa.archives.containers import deb_members, zip_members
from agrepa.corpora import debian_copyright
from agrepa.errors import CorpusError

AUDIO = (".ogg", ".wav", ".flac", ".mp3")
OPENSFX = "opensfx"
CATALOGUE = "/opensfx.cat"
COPYRIGHT = "/copyright"
# Where a package's copyright file has its sounds: what it says instead of the first part of a path.
SOURCES = {
    "ufoai": ("", "base/"),
    "scratch": ("usr/share/scratch/", ""),
    "sonic_pi": ("usr/share/sonic-pi/samples/", "etc/samples/"),
}
PACKAGES = (*SOURCES, OPENSFX)
# Endings that tell variants of one sound apart: a number, a strength, a phase. Variants share their origin, hence a split.
VARIANT = re.compile(
    r"([\W_]*(\d+[a-z]?|\d+x|mini|heavy|soft|die|death|hurt|scream)"
    r"|(^|[\W_]+)(loop|cut|fast|slow|long|short|soft|hard|heavy|small|medium|large|huge|big|low|high|hi|mid|lo|open|close|closed"
    r"|pedal|start|stop|idle|move|up|down|in|out|under|drag|drop|attack|(body)?impact|[a-z]))$"
)
# Samples recorded in one sitting by one person, under names that do not say so.
SESSIONS = re.compile(r"^(tabla|mehackit_(?:robot|phone)|glitch|civ(?:fem|male))")
README_LICENCE = ("CC0", "contributors of freesound.org, named in the README of the Sonic Pi samples")


@dataclass(frozen=True)
class Sound:
    """A sound of a package.

    Attributes:
        name: path of the file in the package.
        key: what tells it apart within the package, for ids.
        caption: the text by which its class is found.
        origin: what it has in common with its variants.
    """

    package: str
    name: str
    key: str
    data: bytes
    caption: str
    origin: str
    licence: str
    holders: str


@dataclass(frozen=True)
class Contents:
    """What is read of a package: its sounds by name, captions by name (opensfx), and its copyright file (the others)."""

    sounds: dict[str, bytes]
    captions: dict[str, str]
    copyright: bytes


def contents(package: str, path: Path) -> Contents:
    """A package's sounds, sorted by name, with nothing parsed that decoding does not need.

    Raises CorpusError when the package is missing, damaged, or holds a path that leads out of it.
    """
    if package == OPENSFX:
        return _catalogue(path)
    folder = SOURCES[package][0]
    wanted = AUDIO if package != "ufoai" else ("/0snd.pk3",)
    members = deb_members(path, lambda name: name.endswith(COPYRIGHT) or (name.startswith(folder) and name.endswith(wanted)))
    copyrights = _one(members, COPYRIGHT, path)
    if package == "ufoai":
        members = zip_members(_one(members, "/0snd.pk3", path), lambda name: name.endswith(AUDIO), f"{path}: 0snd.pk3")
    return Contents({name: data for name, data in members.items() if name.endswith(AUDIO)}, {}, copyrights)


def sounds(package: str, path: Path) -> Iterator[Sound]:
    """All sounds of a package, sorted by name.

    Raises CorpusError as ``contents`` does, and when the package says nothing about a sound.
    """
    found = contents(package, path)
    if package == OPENSFX:
        yield from (_captioned(path, name, data, found.captions[name]) for name, data in found.sounds.items())
        return
    copyrights = debian_copyright.parse(found.copyright, str(path))
    folder, source = SOURCES[package]
    for name, data in found.sounds.items():
        paragraph = debian_copyright.find(copyrights, source + name.removeprefix(folder))
        if package == "sonic_pi" and (paragraph is None or paragraph.patterns == ("*",)):
            # That is the program; the samples' README speaks for the others.
            paragraph = debian_copyright.Paragraph((), *README_LICENCE)
        if paragraph is None:
            raise CorpusError(f"{package}: the package's copyright file says nothing about {name}: is it the pinned archive?")
        place = PurePosixPath(name)
        key = " ".join((*place.parts[-2:-1], place.stem))
        yield Sound(package, name, key, data, name, origin(name), paragraph.licence, paragraph.holders)


def origin(path: str) -> str:
    """Folder and name of a sound without what tells its variants apart; the folder alone where nothing else is left."""
    name = PurePosixPath(path)
    stem = name.stem.lower()
    if session := SESSIONS.match(stem):
        stem = session[0]
    while shorter := VARIANT.search(stem):
        stem = stem[: shorter.start()]
    return f"{'/'.join(name.parts[-2:-1])}/{stem}".lower()


def _catalogue(path: Path) -> Contents:
    """``opensfx.cat``: little-endian pairs of offset and size; at each offset a caption with its length, then a WAV."""
    name, data = next(iter(deb_members(path, lambda name: name.endswith(CATALOGUE)).items()))
    found, captions = {}, {}
    try:
        count = (struct.unpack_from("<I", data)[0] & 0x7FFFFFFF) // 8
        for index in range(count):
            offset, size = struct.unpack_from("<II", data, 8 * index)
            offset &= 0x7FFFFFFF
            behind = offset + 1 + data[offset]
            captions[f"{name}:{index}"] = data[offset + 1 : behind].rstrip(b"\0").decode("utf-8")
            found[f"{name}:{index}"] = data[behind : behind + size]
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: {name} is damaged ({error}): delete the package and fetch it again") from None
    return Contents(found, captions, b"")


def _captioned(path: Path, name: str, data: bytes, caption: str) -> Sound:
    """A caption reads ``"Name". Original "file" by "author". Edited by …. License: ….``"""
    parts = re.match(r'"([^"]*)"\.?\s*(.*)', caption, re.DOTALL)
    if parts is None:
        raise CorpusError(f"{path}: {name} is damaged (caption {caption!r}): delete the package and fetch it again")
    title, rest = parts.groups()
    credit, _, licence = rest.partition("License:")
    source = re.search(r'"([^"]+)"', re.split(r"(?:Cut and e|E)dited", credit)[0])
    return Sound(
        package=OPENSFX,
        name=name,
        key=f"{int(name.rpartition(':')[2]):02d} {title}",
        data=data,
        caption=title,
        origin=source[1] if source else title,
        licence=licence.split(". ")[0].strip(" ."),
        holders=credit.strip(" ."),
    )


def _one(members: dict[str, bytes], ending: str, path: Path) -> bytes:
    found = [data for name, data in members.items() if name.endswith(ending)]
    if len(found) != 1:
        raise CorpusError(f"{path} has {len(found)} files that end in {ending}, expected one: is it the pinned archive?")
    return found[0]
