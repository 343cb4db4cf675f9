"""General audio: the sounds of four Debian packages, with a class, an origin and a licence for every file."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from agrepa.audio import files
from agrepa.corpora import debian_copyright
from agrepa.corpora.archives import deb_members, zip_members
from agrepa.corpora.clip import Clip, Split, slug
from agrepa.corpora.game_sound_labels import label
from agrepa.errors import CorpusError

if TYPE_CHECKING:
    from agrepa.params import Corpora

AUDIO = (".ogg", ".wav", ".flac", ".mp3")
MAX_PIECES = 6  # clips taken of one long sound, so that a few ambiences do not fill a split
SPLITS: tuple[tuple[float, Split], ...] = ((0.80, "train"), (0.88, "validation"), (1.0, "test"))
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


def sounds(archives: dict[str, Path]) -> Iterator[Sound]:
    """All sounds of the packages, sorted by package and name.

    Raises CorpusError when an archive is missing, damaged, or holds a path that leads out of it.
    """
    missing = [package for package in READERS if package not in archives]
    if missing:
        raise CorpusError(
            f"corpus game_sounds needs the archives {', '.join(missing)}: run agrepa fetch --archive … and pass them to prepare"
        )
    for package, reader in sorted(READERS.items()):
        yield from reader(archives[package])


def clips(archives: dict[str, Path], settings: Corpora) -> list[Clip]:
    """Clips of all splits: sounds up to ``max_seconds``, and up to MAX_PIECES consecutive pieces of longer ones.

    Sounds without samples, and those recorded at less than twice the bandwidth, are left out.

    Raises CorpusError as ``sounds`` does, and for a sound that no row of the class table matches.
    """
    return cut(sounds(archives), settings)


def cut(found: Iterable[Sound], settings: Corpora) -> list[Clip]:
    """The clips of some sounds; see ``clips``."""
    result = []
    for sound in found:
        seconds, rate = files.length(sound.data, f"{sound.package}: {sound.name}")
        if rate < 2 * settings.bandwidth_hz:
            continue
        family = slug(sound.package, sound.origin)
        for index in range(MAX_PIECES):
            start = index * settings.max_seconds
            length = min(seconds - start, settings.max_seconds)
            if length < settings.min_seconds:
                break
            result.append(
                Clip(
                    id=slug(sound.package, sound.key) + (f"_part{index + 1}" if index else ""),
                    corpus=sound.package,
                    domain="audio",
                    split=split(family),
                    file=sound.name,
                    start=start,
                    seconds=length,
                    text="",
                    speaker="",
                    label=label(sound.package, sound.caption),
                    family=family,
                    licence=sound.licence,
                    attribution=sound.holders,
                    parts=(f"{hashlib.sha256(sound.data).hexdigest()}@{index}",),
                    decode=partial(files.read, sound.data, sound.name, mix=True, start=start, seconds=length),
                )
            )
    return result


def split(family: str) -> Split:
    """A family's split, from its name alone, so that it never changes when sounds are added."""
    place = int.from_bytes(hashlib.sha256(family.encode()).digest()[:8]) / 2**64
    return next(name for end, name in SPLITS if place < end)


def origin(path: str) -> str:
    """Folder and name of a sound without what tells its variants apart; the folder alone where nothing else is left."""
    name = PurePosixPath(path)
    stem = name.stem.lower()
    if session := SESSIONS.match(stem):
        stem = session[0]
    while shorter := VARIANT.search(stem):
        stem = stem[: shorter.start()]
    return f"{'/'.join(name.parts[-2:-1])}/{stem}".lower()


def _ufoai(path: Path) -> Iterator[Sound]:
    members = deb_members(path, lambda name: name.endswith(("/0snd.pk3", "/copyright")))
    paragraphs = debian_copyright.parse(_one(members, "/copyright", path))
    inner = zip_members(_one(members, "/0snd.pk3", path), lambda name: name.endswith(AUDIO), f"{path}: 0snd.pk3")
    for name, data in inner.items():
        yield _sound("ufoai", name, data, debian_copyright.find(paragraphs, f"base/{name}"))


def _scratch(path: Path) -> Iterator[Sound]:
    folder = "usr/share/scratch/"
    members = deb_members(path, lambda name: f"{folder}Media/Sounds/" in name or name.endswith("/scratch/copyright"))
    paragraphs = debian_copyright.parse(_one(members, "/copyright", path))
    for name, data in members.items():
        if name.endswith(AUDIO):
            yield _sound("scratch", name, data, debian_copyright.find(paragraphs, name.removeprefix(folder)))


def _sonic_pi(path: Path) -> Iterator[Sound]:
    folder = "usr/share/sonic-pi/samples/"
    members = deb_members(path, lambda name: name.startswith(folder) or name.endswith("/copyright"))
    paragraphs = debian_copyright.parse(_one(members, "/copyright", path))
    for name, data in members.items():
        if name.endswith(AUDIO):
            found = debian_copyright.find(paragraphs, f"etc/samples/{name.removeprefix(folder)}")
            if found is None or found.patterns == ("*",):  # that is the program; the samples' README speaks for the others
                found = debian_copyright.Paragraph((), *README_LICENCE)
            yield _sound("sonic_pi", name, data, found)


def _opensfx(path: Path) -> Iterator[Sound]:
    """``opensfx.cat``: little-endian pairs of offset and size; at each offset a caption with its length, then a WAV.

    A caption reads ``"Name". Original "file" by "author". Edited by …. License: ….``
    """
    name, data = next(iter(deb_members(path, lambda name: name.endswith("/opensfx.cat")).items()))
    try:
        count = (struct.unpack_from("<I", data)[0] & 0x7FFFFFFF) // 8
        for index in range(count):
            offset, size = struct.unpack_from("<II", data, 8 * index)
            offset &= 0x7FFFFFFF
            behind = offset + 1 + data[offset]
            caption = data[offset + 1 : behind].rstrip(b"\0").decode("utf-8")
            title, rest = re.match(r'"([^"]*)"\.?\s*(.*)', caption, re.DOTALL).groups()  # type: ignore[union-attr]
            credit, _, licence = rest.partition("License:")
            source = re.search(r'"([^"]+)"', re.split(r"(?:Cut and e|E)dited", credit)[0])
            yield Sound(
                package="opensfx",
                name=f"{name}:{index}",
                key=f"{index:02d} {title}",
                data=data[behind : behind + size],
                caption=title,
                origin=source[1] if source else title,
                licence=licence.split(". ")[0].strip(" ."),
                holders=credit.strip(" ."),
            )
    except (struct.error, IndexError, UnicodeDecodeError, AttributeError) as error:
        raise CorpusError(f"{path}: {name} is damaged ({error}): delete the package and fetch it again") from None


def _sound(package: str, name: str, data: bytes, found: debian_copyright.Paragraph | None) -> Sound:
    if found is None:
        raise CorpusError(f"{package}: the package's copyright file says nothing about {name}: is it the pinned archive?")
    path = PurePosixPath(name)
    key = " ".join((*path.parts[-2:-1], path.stem))
    return Sound(package, name, key, data, name, origin(name), found.licence, found.holders)


def _one(members: dict[str, bytes], ending: str, path: Path) -> bytes:
    found = [data for name, data in members.items() if name.endswith(ending)]
    if len(found) != 1:
        raise CorpusError(f"{path} has {len(found)} files that end in {ending}, expected one: is it the pinned archive?")
    return found[0]


READERS = {"ufoai": _ufoai, "opensfx": _opensfx, "scratch": _scratch, "sonic_pi": _sonic_pi}
