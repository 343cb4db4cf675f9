"""The embedded corpora against what is known of them, the prepare stage on real archives, and the manifest's rules."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from agrepa import params, stages
from agrepa.artifacts import sha256, write_table
from agrepa.audio import files
from agrepa.corpora import (
    attribution,
    debian_copyright,
    folder,
    game_sounds,
    manifest,
    prepare,
    queen,
    queen_resources,
    selection,
)
from agrepa.corpora.archives import deb_members
from agrepa.corpora.clip import Clip, plain, slug
from agrepa.corpora.game_sound_labels import TABLE, label
from agrepa.errors import CorpusError
from agrepa.params import Experiment, Split

PACKAGES = ("ufoai", "opensfx", "scratch", "sonic_pi")
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "add-a-corpus.md"
HEADER = "path,domain,text,speaker,label,split"
CLASSES = {name for rows in TABLE.values() for _, name in rows}


@pytest.fixture(scope="session")
def game(archive: Callable[[str], Path]) -> queen_resources.Resources:
    return queen_resources.Resources(deb_members(archive("queen"), lambda name: name == queen.DATA)[queen.DATA], "queen")


@pytest.fixture(scope="session")
def utterances(game: queen_resources.Resources) -> list[queen.Utterance]:
    return queen.utterances(game)


@pytest.fixture(scope="session")
def seconds(game: queen_resources.Resources, utterances: list[queen.Utterance]) -> dict[str, float]:
    return {u.stem: sum(len(files.read(game[name])[0]) / queen.RATE for name, _ in u.segments) for u in utterances}


@pytest.fixture(scope="session")
def sounds(archive: Callable[[str], Path]) -> list[game_sounds.Sound]:
    return list(game_sounds.sounds({name: archive(name) for name in PACKAGES}))


@pytest.fixture(scope="session")
def small(demo: Experiment) -> Experiment:
    """The demo experiment with a few clips per split."""
    limits = {name: Split(speech=9, audio=8) for name in ("train", "validation", "test")}
    return demo.model_copy(update={"corpora": demo.corpora.model_copy(update=limits)})


@pytest.fixture(scope="session")
def downloads(archive: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("downloads")
    for name in ("queen", *PACKAGES):
        (folder / f"{name}.deb").symlink_to(archive(name))
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def prepared(small: Experiment, downloads: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    view = stages.View(small, stages.keys("prepare", {}), "prepare")
    prepare.run(view, downloads, folder / "manifest.parquet", folder / "clips")
    return folder


def test_queen_has_the_known_number_of_utterances_and_minutes(
    utterances: list[queen.Utterance], seconds: dict[str, float]
) -> None:
    assert len(utterances) == 4191
    usual = [s for s in seconds.values() if 2 <= s <= 20]
    assert len(usual) == 3030
    assert sum(usual) / 60 == pytest.approx(242, abs=0.5)
    assert sum(len(u.segments) for u in utterances) == 6587


@pytest.mark.parametrize(
    ("clip", "speaker", "frames", "text"),
    [
        ("020001P2.SB", "AND", 38592, "You couldn't pilot your way out of a paper bag."),
        ("28009AJ2.SB", "JOE", 25344, "I was going to give it to the secretary..."),
        ("600029P2.SB", "WITCH", 58752, "You're obviously in touch with your animal emotions."),
        ("C100A093.SB", "IAN", 42624, "we can both bask in glory when we return with the Skull."),
    ],
)
def test_queen_golden_clips(
    clip: str,
    speaker: str,
    frames: int,
    text: str,
    game: queen_resources.Resources,
    utterances: list[queen.Utterance],
) -> None:
    found = {name: (u.speaker, said) for u in utterances for name, said in u.segments}
    assert found[clip] == (speaker, text)
    wave, rate = files.read(game[clip])
    assert (rate, len(wave)) == (queen.RATE, frames)
    assert 0.01 < np.sqrt(np.mean(wave**2)) < 0.3


def test_queen_stage_directions_are_no_text(utterances: list[queen.Utterance]) -> None:
    text = {u.stem: u.text for u in utterances}
    assert text["100001P"] == "What are you doing in my kitchen?"  # *XY00(128,112)*FL…
    assert text["660006P"] == "Why thank you ma'am."  # <gulp> …
    assert not any("*" in line or "<" in line for line in text.values())
    assert queen_resources.segments("*XY00(128,112)*FLIt's you.*00Out!*05") == ["", "", "It's you.", "Out!", ""]


def test_queen_puts_each_speaker_in_one_split(utterances: list[queen.Utterance]) -> None:
    splits: dict[str, set[str]] = {}
    for utterance in utterances:
        if (chosen := queen.split(utterance)) is not None:
            splits.setdefault(utterance.speaker, set()).add(chosen)
    assert all(len(found) == 1 for found in splits.values())
    assert {name for name, found in splits.items() if found == {"test"}} == {"JIM", "ORACLE", "LARIS"}
    assert {name for name, found in splits.items() if found == {"validation"}} == {"BUD", "NAOMI"}
    by_stem = {u.stem: u for u in utterances}
    assert by_stem["C13A_02"].speaker == "JIM"  # the cut scene calls him Jimmy
    assert by_stem["C63B_02"].speaker == "ORACLE"  # … the guardian
    assert queen.split(by_stem["25SSSSJ"]) is None  # Joe greets Jim
    assert queen.split(by_stem["28009AJ"]) == "train"  # Joe talks to Klunk
    assert queen.split(by_stem["BLUEP01"]) is None  # nobody on the screen says it


def test_queen_cuts_long_utterances_between_segments() -> None:
    line = queen.Utterance("s", "JIM", "", (("1", "one"), ("2", "two"), ("3", "three"), ("4", "four")))
    cut = queen.pieces(line, [2.0, 2.5, 1.0, 9.0], 5.0)
    assert [([name for name, _ in parts], total) for parts, total in cut] == [(["1", "2"], 4.5), (["3"], 1.0), (["4"], 9.0)]
    assert len(queen.pieces(line, [1.0] * 4, 5.0)) == 1


def test_queen_needs_its_archive_and_a_bandwidth_that_it_has(demo: Experiment) -> None:
    with pytest.raises(CorpusError, match=r"run agrepa fetch --archive queen"):
        queen.clips({}, demo.corpora)
    with pytest.raises(
        CorpusError, match=r"recorded at 11025 Hz .* bandwidth_hz 8000.*lower corpora.bandwidth_hz to 5512 or less"
    ):
        queen.clips({"queen": Path("x")}, demo.corpora.model_copy(update={"bandwidth_hz": 8000.0}))


@pytest.mark.parametrize("cut", [10, 2000])
def test_a_cut_off_game_file_is_named(cut: int, game: queen_resources.Resources) -> None:
    with pytest.raises(CorpusError, match=r"archive.deb: .*queen.1c"):
        queen_resources.Resources(game._data[:cut], "archive.deb")
    with pytest.raises(CorpusError, match=r"no resource 'NO.SB'"):
        game["NO.SB"]


def test_game_sounds_are_all_there_with_class_licence_and_author(sounds: list[game_sounds.Sound]) -> None:
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
    sounds: list[game_sounds.Sound],
) -> None:
    (sound,) = [s for s in sounds if s.package == package and s.name.endswith(ending)]
    assert (label(package, sound.caption), sound.licence) == (kind, licence)
    assert holder in sound.holders
    assert files.length(sound.data)[1] == rate
    if digest:  # lossless, so that every machine decodes the same samples
        wave, _ = files.read(sound.data, mix=True)
        assert len(wave) == frames
        assert hashlib.sha256((wave * 32768).astype("<i2").tobytes()).hexdigest().startswith(digest)


def test_every_row_of_the_class_table_is_used(sounds: list[game_sounds.Sound]) -> None:
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
    assert {game_sounds.origin(name) for name in variants} == {family}


def test_sounds_are_cut_capped_and_split_by_family(sounds: list[game_sounds.Sound], demo: Experiment) -> None:
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
    with pytest.raises(CorpusError, match=r"needs the archives ufoai, opensfx: run agrepa fetch"):
        game_sounds.clips({"scratch": Path("x"), "sonic_pi": Path("y")}, demo.corpora)


def test_copyright_files_are_read_by_their_rules() -> None:
    text = b"Files: *\nCopyright: All <a@b.c>\nLicense: MIT\n\n"
    text += b"Files:\n a/*\n b/x.ogg\nCopyright:\n Ann\n Ben\n Ann\nLicense: CC0\n its text\n"
    paragraphs = debian_copyright.parse(text)
    for path, expected in {"a/b/c.ogg": ("CC0", "Ann; Ben"), "b/x.ogg": ("CC0", "Ann; Ben"), "b/y.ogg": ("MIT", "All")}.items():
        found = debian_copyright.find(paragraphs, path)
        assert found is not None
        assert (found.licence, found.holders) == expected


def test_prepare_writes_what_the_manifest_says(prepared: Path, small: Experiment) -> None:
    table = manifest.read(prepared / "manifest.parquet")
    limits = {(split, domain): (9 if domain == "speech" else 8) for split in manifest.SPLITS for domain in ("speech", "audio")}
    assert Counter(zip(table.split, table.domain, strict=True)) == limits
    assert [key for key, _ in table.groupby(["split", "domain"], sort=False)] == list(limits)
    assert {p.stem for p in (prepared / "clips").iterdir()} == set(table.id)
    for row in table.itertuples():
        path = prepared / "clips" / f"{row.id}.flac"
        assert sha256(path) == row.sha256
        wave, _ = files.read(path, expected_rate=16000)
        assert row.seconds == len(wave) / 16000
        assert 0.4 <= row.seconds <= 5.001
        assert 0.003 < np.abs(wave).max() < 1
        spectrum = np.abs(np.fft.rfft(wave)) ** 2
        above = spectrum[np.fft.rfftfreq(len(wave), 1 / 16000) > 5050].sum()
        assert above < 1e-5 * spectrum.sum() + len(wave) ** 2 * 1e-9  # what rounding to 16 bits adds
    manifest.check(table)


def test_prepare_mixes_speakers_and_families_in_the_evaluation_lists(prepared: Path) -> None:
    table = manifest.read(prepared / "manifest.parquet").set_index("id", drop=False)
    speakers = [table.speaker[clip] for clip in manifest.evaluation_list(table, "test", "speech", 9)]
    assert set(speakers[:3]) == {"queen_jim", "queen_oracle", "queen_laris"}
    assert speakers[:3] == speakers[3:6] == speakers[6:9]
    families = [table.family[clip] for clip in manifest.evaluation_list(table, "test", "audio", 8)]
    assert len(set(families)) == 8
    assert table.seconds[(table.split == "test") & (table.domain == "speech")].min() >= selection.PREFERRED_SECONDS


def test_prepare_gives_the_same_bytes_again(prepared: Path, small: Experiment, downloads: list[Path], tmp_path: Path) -> None:
    view = stages.View(small, stages.keys("prepare", {}), "prepare")
    prepare.run(view, downloads[::-1], tmp_path / "manifest.parquet", tmp_path / "clips")
    assert sha256(tmp_path / "manifest.parquet") == sha256(prepared / "manifest.parquet")
    assert sha256(tmp_path / "clips") == sha256(prepared / "clips")


def test_attribution_names_corpora_files_and_networks(prepared: Path, demo: Experiment, tmp_path: Path) -> None:
    view = stages.View(demo, stages.keys("attribution", {}), "attribution")
    attribution.run(view, prepared / "manifest.parquet", tmp_path / "ATTRIBUTION.md")
    text = (tmp_path / "ATTRIBUTION.md").read_text()
    table = manifest.read(prepared / "manifest.parquet")
    row = next(line for line in text.splitlines() if line.startswith("| queen |"))
    assert "flight-of-the-amazon-queen 1.0.0-9" in row
    assert row.count("9 clips") == 3
    for file in table.file[table.domain == "audio"]:
        assert f"| {file} |" in text
    for name, pinned in demo.archives.items():
        # The demo's vocoder is Griffin-Lim, which is no network.
        assert (f"| {name} | {pinned.role} |" in text) == (pinned.kind == "wheel" and name != "hifigan")


def fake(identity: str, split: str, text: str = "", part: str = "", domain: str = "audio", seconds: float = 2.0) -> Clip:
    family = identity.rstrip("0123456789")
    return Clip(
        identity,
        "x",
        domain,
        split,
        "f",
        0.0,
        seconds,
        text,
        "",
        "",
        family,
        "",
        "",
        (part or identity,),
        lambda: (np.zeros(1), 1),
    )


def test_what_is_in_two_splits_leaves_train_first() -> None:
    clips = [
        fake("a1", "train", "Good morning!"),
        fake("a2", "train", "It's all right."),
        fake("b1", "validation", "good MORNING"),
        fake("b2", "validation", "Its... all right"),
        fake("c1", "test", "Good morning."),
        fake("d1", "train", part="same"),
        fake("d2", "train", part="same"),
        fake("e1", "validation", part="same"),
        fake("f1", "train", part="twice"),
        fake("f2", "train", part="twice"),
    ]
    assert [c.id for c in selection.without_leaks(clips)] == ["b2", "c1", "e1", "f1"]


def test_order_is_seeded_even_over_families_and_stable() -> None:
    clips = [fake(f"{name}{i}", "test") for name, count in (("a", 6), ("b", 3), ("c", 1)) for i in range(count)]
    first = [c.id for c in selection.ordered(clips, 0)]
    assert Counter(name[0] for name in first[:3]) == Counter("abc")
    assert Counter(name[0] for name in first[3:7]) == Counter("aabb")
    assert first == [c.id for c in selection.ordered(clips[::-1], 0)]
    assert first != [c.id for c in selection.ordered(clips, 1)]
    train = [fake(f"a{i}", "train") for i in range(30)]
    order = [c.id for c in selection.ordered(train, 0)]
    assert [i for i in order if i != "a7"] == [c.id for c in selection.ordered([c for c in train if c.id != "a7"], 0)]
    speech = [fake("a1", "test", "x", domain="speech", seconds=0.5), fake("a2", "test", "y", domain="speech")]
    assert [c.id for c in selection.ordered(speech, 0)] == ["a2", "a1"]


def test_plain_text_and_slugs() -> None:
    assert plain("  It’s  the  CAFÉ — again!") == plain("its the cafe again") == "its the cafe again"
    assert plain("...") == ""
    assert slug("Music Loops", "Xylo-1") == "music_loops_xylo_1"


@pytest.fixture
def table(prepared: Path) -> pd.DataFrame:
    return manifest.read(prepared / "manifest.parquet")


@pytest.mark.parametrize(
    ("column", "kind"), [("sha256", "audio"), ("text", "transcript"), ("speaker", "speaker"), ("family", "family")]
)
def test_a_leak_between_splits_is_found_and_named(column: str, kind: str, table: pd.DataFrame) -> None:
    train = table.index[(table.split == "train") & (table.domain == "speech")][0]
    test = table.index[(table.split == "test") & (table.domain == "speech")][0]
    table.loc[train, column] = table.loc[test, column].upper() + "!" if column == "text" else table.loc[test, column]
    with pytest.raises(CorpusError, match=f"{kind} .* is in more than one split") as failure:
        manifest.check(table)
    assert f"{table.id[train]} (train)" in str(failure.value)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("id", "Queen 1", r"id 'Queen 1' must be of a-z, 0-9 and _ and start with the corpus"),
        ("domain", "music", r"domain 'music' is none of speech, audio"),
        ("split", "dev", r"split 'dev' is none of train, validation, test"),
        ("text", " ... ", r": speech without a transcript"),
        ("seconds", 0.0, r"starts at [0-9.]+ s and is 0.0 s long"),
    ],
)
def test_a_row_that_breaks_the_contract_is_named(column: str, value: object, message: str, table: pd.DataFrame) -> None:
    table.loc[0, column] = value
    with pytest.raises(CorpusError, match=message):
        manifest.check(table, "work/manifest.parquet")


def test_manifest_lists_and_shards(table: pd.DataFrame, tmp_path: Path) -> None:
    assert manifest.evaluation_list(table, "test", "audio", 3) == manifest.evaluation_list(table, "test", "audio", 8)[:3]
    with pytest.raises(CorpusError, match=r"20 audio clips of the test split are asked for and it has 8: ask for fewer"):
        manifest.evaluation_list(table, "test", "audio", 20)
    shards = [manifest.shard(table, k, 3) for k in range(3)]
    assert sorted(pd.concat(shards).id) == sorted(table.id)
    assert shards[1].id.tolist() == table.id[1::3].tolist()
    with pytest.raises(CorpusError, match=r"shard 3 of 3: shards count from 0 to 2"):
        manifest.shard(table, 3, 3)
    write_table(tmp_path / "m.parquet", table.drop(columns="label"))
    with pytest.raises(CorpusError, match=r"the manifest has no column label"):
        manifest.read(tmp_path / "m.parquet")
    with pytest.raises(CorpusError, match=r"id '.*' stands for 2 clips"):
        manifest.check(pd.concat([table, table[:1]], ignore_index=True))


def block(language: str) -> str:
    """The first code block of a language in docs/add-a-corpus.md."""
    found = re.search(f"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def record(path: Path, rate: int = 16000, seconds: float = 1.5, seed: int = 0, container: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(seed).normal(0, 0.1, round(rate * seconds))
    soundfile.write(path, wave, rate, format=container)


@pytest.fixture
def mine(demo: Experiment, tmp_path: Path) -> Experiment:
    """The experiment and the recordings of docs/add-a-corpus.md."""
    changes = yaml.safe_load(block("yaml"))
    changes["corpora"]["folder_csv"] = str(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text(block("csv"), encoding="utf-8")
    for number, line in enumerate(block("csv").splitlines()[1:]):
        record(tmp_path / line.split(",")[0], seed=number, seconds=23 if "rain.wav" in line else 1.5)
    return params.Experiment.model_validate(demo.model_dump() | changes)


def test_the_guide_works_as_written(mine: Experiment, tmp_path: Path) -> None:
    view = stages.View(mine, stages.keys("prepare", {}), "prepare")
    prepare.run(view, [], tmp_path / "manifest.parquet", tmp_path / "clips")
    table = manifest.read(tmp_path / "manifest.parquet").set_index("id", drop=False)
    assert sorted(table.id) == [
        "folder_0002_001",
        "folder_0003_002",
        "folder_0004_001",
        "folder_0005_001",
        "folder_0006_rain",
        "folder_0006_rain_part2",
        "folder_0006_rain_part3",
        "folder_0007_kettle",
        "folder_0008_bell",
    ]
    assert table.text["folder_0002_001"] == "Good morning, everyone."
    # The workflow looks at every recording, so that one that is replaced is read again.
    listed = folder.listed(tmp_path / "list.csv")
    assert listed[0] == str(tmp_path / "list.csv")
    assert {str(tmp_path / file) for file in table.file} == set(listed[1:])
    assert table.family["folder_0002_001"] == "folder_anna"
    assert table.seconds["folder_0006_rain_part3"] == pytest.approx(3, abs=1e-3)
    attribution.run(
        stages.View(mine, stages.keys("attribution", {}), "attribution"), tmp_path / "manifest.parquet", tmp_path / "A.md"
    )
    assert "| folder | your own recordings |" in (tmp_path / "A.md").read_text()


def test_every_problem_of_a_listing_is_reported_at_once(mine: Experiment, tmp_path: Path) -> None:
    record(tmp_path / "good.wav")
    record(tmp_path / "slow.wav", rate=8000)
    soundfile.write(tmp_path / "stereo.wav", np.full((16000, 2), 0.1), 16000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    (tmp_path / "corrupt.flac").write_bytes(b"fLaC and nothing else" * 50)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "good.wav").read_bytes()[:9000])
    rows = {
        "good.wav,talk,x,a,,train": "row 2: good.wav: domain 'talk' is none of speech, audio: correct it",
        "good.wav,audio,,,,dev": "row 3: good.wav: split 'dev' is none of train, validation, test: correct it",
        "good.wav,speech, ... ,a,,train": "row 4: good.wav: speech without a transcript (text '...')",
        "good.wav,speech,Hello.,,,train": "row 5: good.wav: speech without a speaker",
        "good.wav,speech,Hello, you,a,,train": "row 6: good.wav: more cells than columns",
        "absent.wav,audio,,,,train": f"row 7: {tmp_path}/absent.wav: no such audio file",
        "slow.wav,audio,,,,train": f"row 8: {tmp_path}/slow.wav: is at 8000 Hz and holds nothing up to bandwidth_hz 8000",
        "stereo.wav,audio,,,,train": f"row 9: {tmp_path}/stereo.wav: has 2 channels: mix it down to one channel",
        "silent.wav,audio,,,,train": f"row 10: {tmp_path}/silent.wav: is silent",
        "nan.wav,audio,,,,train": f"row 11: {tmp_path}/nan.wav: has 16000 samples that are NaN or infinite",
        "empty.wav,audio,,,,train": f"row 12: {tmp_path}/empty.wav: is empty",
        "corrupt.flac,audio,,,,train": f"row 13: {tmp_path}/corrupt.flac: cannot be decoded",
        "cut.wav,audio,,,,train": f"row 14: {tmp_path}/cut.wav: truncated",
        ",audio,,,,train": f"row 15: {tmp_path}: no such audio file",
    }
    (tmp_path / "bad.csv").write_text("\n".join([HEADER, *rows]))
    with pytest.raises(CorpusError) as failure:
        folder.clips(tmp_path / "bad.csv", mine.corpora)
    message = str(failure.value)
    assert f"{tmp_path}/bad.csv:" in message
    for expected in rows.values():
        assert expected in message
    (tmp_path / "bad.csv").write_text("\n".join([HEADER, *["absent.wav,audio,,,,train"] * 30]))
    with pytest.raises(CorpusError, match=r"30 problems:(\n.*){20}\nand 10 more"):
        folder.clips(tmp_path / "bad.csv", mine.corpora)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,domain,text,speaker,label\n", r"no column split: the first row must name path, domain"),
        (HEADER.encode() + b",notes\n", r"unknown column notes: use path, domain"),
        (HEADER.encode() + b"\n", r"lists no recordings"),
        (b"", r"no column path, domain, .* \(found: nothing\)"),
        (HEADER.encode() + b"\nx.wav,speech,na\xefve,a,,train\n", r"not a CSV in UTF-8 .*save it again"),
        (None, r"no such file: corpora.folder_csv must name the CSV"),
    ],
)
def test_a_listing_that_is_none(content: bytes | None, message: str, demo: Experiment, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        folder.clips(tmp_path / "list.csv", demo.corpora)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("I will call you tomorrow.,cleo", "I will call you tomorrow.,anna", r"speaker 'folder_anna' is in more than one split"),
        ("I will call you tomorrow.", "it rained ALL night!", r"transcript 'it rained all night' is in more than one split"),
        ("sounds/bell.ogg", "sounds/kettle.wav", r"audio '[0-9a-f]{60}' is in more than one split"),
        ("bell.ogg,audio,,", "bell.ogg,audio,,garden recorder", r"family 'folder_garden_recorder' is in more than one split"),
        ("sounds/bell.ogg,audio,,,bell,test\n", "", r"no audio clip of 0.4-10.0 s for the test split in folder: add recordings"),
    ],
)
def test_a_listing_that_leaks_or_leaves_a_split_empty_stops(
    before: str, after: str, message: str, mine: Experiment, tmp_path: Path
) -> None:
    text = (tmp_path / "list.csv").read_text(encoding="utf-8")
    assert before in text
    (tmp_path / "list.csv").write_text(text.replace(before, after), encoding="utf-8")
    view = stages.View(mine, stages.keys("prepare", {}), "prepare")
    with pytest.raises(CorpusError, match=message):
        prepare.run(view, [], tmp_path / "manifest.parquet", tmp_path / "clips")
    assert not (tmp_path / "manifest.parquet").exists()
