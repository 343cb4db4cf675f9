"""The sounds of four Debian packages against what is known of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from agrepa.audio import files
from agrepa.corpora import debian_copyright, game_sound_packages, game_sounds
from agrepa.corpora.clip import slug
from agrepa.corpora.game_sound_labels import TABLE, label
from agrepa.corpora.game_sound_packages import PACKAGES, Sound, origin
from agrepa.errors import CorpusError
from agrepa.params import Experiment

CLASSES = {name for rows in TABLE.values() for _, name in rows}


@pytest.fixture(scope="session")
def sounds(archive: Callable[[str], Path]) -> list[Sound]:
    return [sound for package in PACKAGES for sound in game_sound_packages.sounds(package, archive(package))]


def test_game_sounds_are_all_there_with_class_licence_and_author(sounds: list[Sound]) -> None:
    assert Counter(s.package for s in sounds) == {"ufoai": 347, "sonic_pi": 165, "scratch": 114, "opensfx": 73}
    assert {label(s.package, s.caption) for s in sounds} == CLASSES
    assert all(s.licence and (s.holders or s.caption.startswith("Unused")) for s in sounds)
    assert not any("@" in s.holders for s in sounds)
    assert len({(s.package, slug(s.key)) for s in sounds}) == len(sounds)


@pytest.mark.parametrize(
    ("package", "ending", "rate", "frames", "digest", "kind", "licence", "holder"),
    [
        ("sonic_pi", "/bd_808.flac", 44100, 24685, "b885d5fd6f594fbd", "percussion", "CC0", "2013 EKVelika"),
        ("opensfx", ":38", 44100, 80585, "a8787783f608741f", "animal", "Creative Commons Attribution 3.0 Unported", '"dobroide"'),
        (
            "scratch",
            "/Owl.wav",
            11025,
            8111,
            "1f46cc34f7f8e8fc",
            "animal",
            "CC-BY-SA-3.0",
            "Massachusetts Institute of Technology",
        ),
        ("ufoai", "/thunder1.ogg", 44100, None, "", "nature", "CC-BY-SA-3.0", "Gren"),
        ("ufoai", "/fire1.ogg", 44100, None, "", "nature", "GPL-2", "OpenArena"),
        ("ufoai", "/minepump03.ogg", 48000, None, "", "machine", "CC-BY-3.0", "Manuel"),
    ],
)
def test_game_sound_golden_files(
    package: str,
    ending: str,
    rate: int,
    frames: int | None,
    digest: str,
    kind: str,
    licence: str,
    holder: str,
    sounds: list[Sound],
) -> None:
    (sound,) = [s for s in sounds if s.package == package and s.name.endswith(ending)]
    assert (label(package, sound.caption), sound.licence) == (kind, licence)
    assert holder in sound.holders
    assert files.length(sound.data)[1] == rate
    if digest:  # lossless, so that every machine decodes the same samples
        wave, _ = files.read(sound.data, mix=True)
        assert len(wave) == frames
        assert hashlib.sha256((wave * 32768).astype("<i2").tobytes()).hexdigest().startswith(digest)


def test_every_row_of_the_class_table_is_used(sounds: list[Sound]) -> None:
    for package, rows in TABLE.items():
        captions = [s.caption for s in sounds if s.package == package]
        used = {next(i for i, row in enumerate(rows) if label(package, c) == row[1]) for c in captions}
        assert {rows[i][1] for i in used} == {name for _, name in rows}
    with pytest.raises(CorpusError, match=r"no row of the class table matches 'xyzzy'"):
        label("scratch", "xyzzy")


@pytest.mark.parametrize(
    ("variants", "family"),
    [
        (("sound/ambience/thunder1.ogg", "sound/ambience/thunder2.ogg"), "ambience/thunder"),
        (("sound/weapons/bullet-rifle-3x.ogg", "sound/weapons/bullet-rifle.ogg"), "weapons/bullet-rifle"),
        (("sound/doors/door1-open.ogg", "sound/doors/door2-close.ogg"), "doors/door"),
        (("sound/soldiers/malehurt01.ogg", "sound/soldiers/maledeath07.ogg"), "soldiers/male"),
        (("sound/aliens/ortnok/die1.ogg", "sound/aliens/ortnok/hurt9.ogg"), "ortnok/"),
        (("x/samples/drum_splash_hard.flac", "x/samples/drum_splash_soft.flac"), "samples/drum_splash"),
        (("x/samples/tabla_ghe1.flac", "x/samples/tabla_te_ne.flac"), "samples/tabla"),
        (("Music Loops/Xylo1.mp3", "Music Loops/xylo4.mp3"), "music loops/xylo"),
        (("sound/ambience/cricket_loop.ogg",), "ambience/cricket"),
    ],
)
def test_variants_of_a_sound_are_one_family(variants: tuple[str, ...], family: str) -> None:
    assert {origin(name) for name in variants} == {family}


def test_sounds_are_cut_capped_and_split_by_family(sounds: list[Sound], demo: Experiment) -> None:
    clips = game_sounds.cut(sounds, demo.corpora)
    assert len({c.id for c in clips}) == len(clips)
    families: dict[str, set[str]] = {}
    for clip in clips:
        families.setdefault(clip.family, set()).add(clip.split)
        assert demo.corpora.min_seconds <= clip.seconds <= demo.corpora.max_seconds
    assert all(len(splits) == 1 for splits in families.values())
    shares = Counter(clip.split for clip in clips)
    assert 0.75 < shares["train"] / len(clips) < 0.85
    assert shares["test"] >= demo.corpora.test.audio
    pump = [c for c in clips if "minepump" in c.file]
    assert [c.start for c in pump] == [0, 5, 10, 15, 20, 25]  # 154 s long
    assert not any("droning_long" in c.file for c in clips)  # recorded at 8 kHz


def test_a_package_that_is_missing_or_unknown_is_named(demo: Experiment) -> None:
    source = demo.corpora.sources["game_sounds"]
    with pytest.raises(CorpusError, match=r"needs archive opensfx: run agrepa fetch --archive opensfx"):
        game_sounds.clips({"scratch": Path("x"), "sonic_pi": Path("y")}, demo.corpora, source)
    with pytest.raises(CorpusError, match=r"cannot read archive 'queen': it knows ufoai, scratch, sonic_pi, opensfx"):
        game_sounds.clips({}, demo.corpora, source.model_copy(update={"archives": ["queen"]}))


def test_the_reader_decodes_what_was_listed_and_reads_no_other_package(
    sounds: list[Sound], archive: Callable[[str], Path], demo: Experiment
) -> None:
    source = demo.corpora.sources["game_sounds"]
    decode = game_sounds.reader({"opensfx": archive("opensfx")}, demo.corpora, source)
    for sound in [s for s in sounds if s.package == "opensfx"][:3]:
        row = SimpleNamespace(corpus="opensfx", file=sound.name, start=0.0, seconds=0.3)
        wave, rate = decode(row)
        expected, expected_rate = files.read(sound.data, mix=True, seconds=0.3)
        assert rate == expected_rate
        assert (wave == expected).all()
    with pytest.raises(CorpusError, match=r"opensfx.* has no sound y: run the candidates stage again"):
        decode(SimpleNamespace(corpus="opensfx", file="y"))
    with pytest.raises(CorpusError, match=r"needs archive scratch"):
        decode(SimpleNamespace(corpus="scratch", file="x"))


def test_copyright_files_are_read_by_their_rules() -> None:
    text = b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
    text += b"Files: *\nCopyright: All <a@b.c>\nLicense: MIT\n\n"
    text += b"Files:\n a/*\n b/x.ogg\nCopyright:\n Ann\n Ben\n Ann\nLicense: CC0\n its text\n"
    paragraphs = debian_copyright.parse(text, "x.deb")
    for path, expected in {"a/b/c.ogg": ("CC0", "Ann; Ben"), "b/x.ogg": ("CC0", "Ann; Ben"), "b/y.ogg": ("MIT", "All")}.items():
        found = debian_copyright.find(paragraphs, path)
        assert found is not None
        assert (found.licence, found.holders) == expected


@pytest.mark.parametrize(
    ("text", "reason"), [(b"", "no paragraphs"), (b"This is free.\n\nSo is this.\n", ""), (b"Files: a\\b\n", "")]
)
def test_a_copyright_file_that_only_a_person_can_read_is_named(text: bytes, reason: str) -> None:
    with pytest.raises(CorpusError, match=rf"x\.deb: its copyright file cannot be read \(.*{reason}.*is it the pinned archive"):
        debian_copyright.parse(text, "x.deb")
