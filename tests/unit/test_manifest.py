"""The stages that prepare the corpora, on real archives, the credit that is given, and the manifest's rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prepared import prepare

from agrepa.artifacts.files import read_table, sha256, write_table
from agrepa.audio import files
from agrepa.corpora import attribution, build_manifest, candidates, decode, manifest, ordering
from agrepa.corpora.game_sound_packages import PACKAGES
from agrepa.errors import ArtifactError, AudioError, CorpusError
from agrepa.params import Experiment
from agrepa.params.corpora import Corpora, HeldOut, Split
from agrepa.params.stages import AttributionSettings, CorporaSettings, DecodeSettings


@pytest.fixture(scope="session")
def small(demo: Experiment) -> Corpora:
    """The demo's corpora with a few clips per split."""
    held_out = HeldOut(speech=9, audio=8, unseen=6)
    limits = {"train": Split(speech=9, audio=8), "validation": held_out, "test": held_out}
    return demo.corpora.model_copy(update=limits)


@pytest.fixture(scope="session")
def downloads(archive: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("downloads")
    for name in ("queen", *PACKAGES):
        (folder / f"{name}.deb").symlink_to(archive(name))
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def prepared(small: Corpora, downloads: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest of 63 clips, the clips, and the candidates."""
    return prepare(small, downloads, tmp_path_factory.mktemp("prepared")).parent


@pytest.fixture
def table(prepared: Path) -> pd.DataFrame:
    return manifest.read(prepared / "manifest.parquet")


def test_candidates_are_those_asked_for_and_a_reserve(prepared: Path, small: Corpora) -> None:
    listed = read_table(prepared / "candidates.parquet")
    assert list(listed) == list(candidates.COLUMNS)
    assert listed.split.drop_duplicates().tolist() == list(ordering.PRIORITY)
    for (split, domain, listing), part in listed.groupby(["split", "domain", "listing"]):
        assert len(part) == {"speech": 20, "audio": 18, "unseen": 16}["unseen" if listing == "unseen" else domain]
        assert (part.left_out > 10).all(), (split, domain)
    assert candidates.asked(100, 0.25) == 125 + candidates.SPARE
    assert candidates.asked(None, 0.25) is None


def test_the_manifest_says_what_the_clips_are(prepared: Path, table: pd.DataFrame) -> None:
    limits = {("train", "speech", ""): 9, ("train", "audio", ""): 8}
    for split in ("validation", "test"):
        limits |= {(split, "speech", "main"): 9, (split, "speech", "unseen"): 6, (split, "audio", ""): 8}
    assert Counter(zip(table.split, table.domain, table.listing, strict=True)) == limits
    assert [key for key, _ in table.groupby(["split", "domain", "listing"], sort=False)] == list(limits)
    for row in table.itertuples():
        assert Path(row.clip).name == f"{row.id}.flac"
        assert prepared / "clips" in Path(row.clip).parents
        assert sha256(Path(row.clip)) == row.sha256
        wave = manifest.wave(row, 16000)
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
    assert len(set(speakers)) == 9
    speakers = [table.speaker[clip] for clip in manifest.evaluation_list(table, "test", "speech", 6, "unseen")]
    assert set(speakers[:3]) == {"queen_jim", "queen_oracle", "queen_laris"}
    assert speakers[:3] == speakers[3:]
    families = [table.family[clip] for clip in manifest.evaluation_list(table, "test", "audio", 8)]
    assert len(set(families)) == 8
    assert table.seconds[(table.split == "test") & (table.domain == "speech")].min() >= ordering.PREFERRED_SECONDS


def test_shards_and_the_order_of_archives_do_not_matter(
    prepared: Path, small: Corpora, downloads: list[Path], tmp_path: Path
) -> None:
    again = manifest.read(prepare(small, downloads[::-1], tmp_path, shards=3))
    first = manifest.read(prepared / "manifest.parquet")
    pd.testing.assert_frame_equal(again.drop(columns="clip"), first.drop(columns="clip"), check_exact=True)
    (tmp_path / "0.parquet").write_bytes((tmp_path / "clips" / "0.parquet").read_bytes())
    settings = DecodeSettings(corpora=small, shards=3)
    listed = tmp_path / "candidates.parquet"
    decode.run(
        settings,
        shard="0",
        candidates=listed,
        archives=downloads,
        clips=tmp_path / "clips" / "0",
        rows=tmp_path / "clips" / "0.parquet",
    )
    assert sha256(tmp_path / "0.parquet") == sha256(tmp_path / "clips" / "0.parquet")


def test_a_decode_job_reads_only_the_archives_that_its_rows_need(
    prepared: Path, small: Corpora, downloads: list[Path], tmp_path: Path
) -> None:
    listed = read_table(prepared / "candidates.parquet")
    write_table(tmp_path / "candidates.parquet", listed[listed.corpus == "scratch"][:2])
    only = [path for path in downloads if path.stem == "scratch"]
    settings, rows = DecodeSettings(corpora=small, shards=1), tmp_path / "0.parquet"
    decode.run(settings, shard="0", candidates=tmp_path / "candidates.parquet", archives=only, clips=tmp_path / "0", rows=rows)
    assert len(read_table(rows)) == len(list((tmp_path / "0").iterdir())) == 2
    with pytest.raises(CorpusError, match=r"needs archive scratch: run agrepa fetch"):
        decode.run(settings, shard="0", candidates=tmp_path / "candidates.parquet", archives=[], clips=tmp_path / "0", rows=rows)
    with pytest.raises(CorpusError, match=r"relative to its own folder, and .* write both into one"):
        decode.run(
            settings, shard="0", candidates=tmp_path / "candidates.parquet", archives=only, clips=tmp_path / "x/0", rows=rows
        )


def gather(corpora: Corpora, listed: pd.DataFrame, decoded: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The manifest of some candidates and of what decoding said about them."""
    write_table(folder / "candidates.parquet", listed)
    write_table(folder / "clips" / "0.parquet", decoded)
    settings = CorporaSettings(corpora=corpora, seed=0)
    rows = [folder / "clips" / "0.parquet"]
    build_manifest.run(settings, candidates=folder / "candidates.parquet", rows=rows, out=folder / "manifest.parquet")
    return manifest.read(folder / "manifest.parquet")


@pytest.fixture
def listed(prepared: Path) -> pd.DataFrame:
    return read_table(prepared / "candidates.parquet")


@pytest.fixture
def decoded(prepared: Path) -> pd.DataFrame:
    return pd.concat([read_table(prepared / "clips" / f"{k}.parquet") for k in range(2)])


def test_short_clips_and_those_heard_before_make_room_for_the_next(
    small: Corpora, listed: pd.DataFrame, decoded: pd.DataFrame, tmp_path: Path
) -> None:
    usual = gather(small, listed, decoded, tmp_path)
    first = usual.id[(usual.split == "train") & (usual.domain == "audio")].tolist()
    heard = usual.sha256[usual.split == "test"].tolist()[0]
    decoded.loc[decoded.id == first[0], "seconds"] = 0.1
    decoded.loc[decoded.id == first[1], "sha256"] = heard
    changed = gather(small, listed, decoded, tmp_path)
    found = changed.id[(changed.split == "train") & (changed.domain == "audio")].tolist()
    assert found[:6] == first[2:]
    assert len(found) == 8


def test_too_few_usable_candidates_ask_for_a_larger_reserve(
    small: Corpora, listed: pd.DataFrame, decoded: pd.DataFrame, tmp_path: Path
) -> None:
    train = listed.id[(listed.split == "train") & (listed.domain == "audio")]
    decoded.loc[decoded.id.isin(train[:11]), "seconds"] = 0.1
    with pytest.raises(
        CorpusError, match=r"of 18 audio candidates of the train split 7 are usable and 8 .*raise corpora.reserve"
    ):
        gather(small, listed, decoded, tmp_path)
    assert (gather(small, listed.assign(left_out=0), decoded, tmp_path).split == "train").sum() == 9 + 7  # all that there are
    decoded.loc[decoded.id.isin(train), "seconds"] = 0.1
    with pytest.raises(CorpusError, match=r"none of the 18 audio candidates of the train split is of 0.4-5.0 s"):
        gather(small, listed.assign(left_out=0), decoded, tmp_path)


def test_candidates_that_were_not_decoded_are_missed(
    small: Corpora, listed: pd.DataFrame, decoded: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=rf"{decoded.id.iloc[0]} and 0 others .* run the decode stage again"):
        gather(small, listed, decoded[1:], tmp_path)


def test_a_clip_that_is_not_the_manifests_is_refused(table: pd.DataFrame, tmp_path: Path) -> None:
    row = next(table.itertuples())
    path = tmp_path / "x.flac"
    with pytest.raises(CorpusError, match=rf"x\.flac: the clip {row.id} of the manifest is missing: run the decode stage again"):
        manifest.wave(row._replace(clip=str(path)), 16000)
    files.write_flac(path, np.full(16000, 0.1, np.float32), 16000)
    with pytest.raises(
        CorpusError, match=rf"x\.flac: .*{row.id} has SHA-256 .* says {row.sha256}: .*run the decode and manifest"
    ):
        manifest.wave(row._replace(clip=str(path)), 16000)
    with pytest.raises(AudioError, match=r"is at 16000 Hz and 22050 Hz is expected"):
        manifest.wave(row, 22050)


def test_attribution_names_corpora_files_and_networks(
    prepared: Path, table: pd.DataFrame, demo: Experiment, tmp_path: Path
) -> None:
    settings = AttributionSettings(archives=demo.archives, sources=demo.corpora.sources, vocoder=demo.evaluation.vocoder)
    attribution.run(settings, manifest=prepared / "manifest.parquet", out=tmp_path / "ATTRIBUTION.md")
    text = (tmp_path / "ATTRIBUTION.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| queen |"))
    assert "flight-of-the-amazon-queen 1.0.0-9" in row
    assert row.count("9 clips") == 1 and row.count("15 clips") == 2
    assert "Files of queen" not in text
    for file in table.file[table.domain == "audio"]:
        assert f"| {file} |" in text
    for name, pinned in demo.archives.items():
        # The demo's vocoder is Griffin-Lim, which is no network.
        assert (f"| {name} | {pinned.role} |" in text) == (pinned.kind == "wheel" and name != "hifigan")


@pytest.mark.parametrize(
    ("column", "kind"), [("sha256", "audio"), ("text", "transcript"), ("speaker", "speaker"), ("family", "family")]
)
def test_a_leak_between_splits_is_found_and_named(column: str, kind: str, table: pd.DataFrame) -> None:
    train = table.index[(table.split == "train") & (table.domain == "speech")][0]
    test = table.index[(table.split == "test") & (table.listing == "unseen")][0]
    table.loc[train, column] = table.loc[test, column].upper() + "!" if column == "text" else table.loc[test, column]
    with pytest.raises(CorpusError, match=f"{kind} .* is in more than one split") as failure:
        manifest.check(table)
    assert f"{table.id[train]} (train)" in str(failure.value)


def test_a_speaker_of_training_may_be_on_a_main_list_and_never_on_an_unseen_one(table: pd.DataFrame) -> None:
    train, main, unseen = (
        table.index[(table.domain == "speech") & (table.listing == listing) & (table.split == split)][0]
        for listing, split in (("", "train"), ("main", "test"), ("unseen", "validation"))
    )
    table.loc[[train, main], ["speaker", "family"]] = "queen_someone"
    manifest.check(table)
    table.loc[unseen, ["speaker", "family"]] = "queen_someone"
    with pytest.raises(CorpusError, match="speaker 'queen_someone' is in more than one split"):
        manifest.check(table)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("listing", "main", r": listing 'main': evaluated speech is on a list and nothing else is"),
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
    assert [len(ids) for ids in manifest.evaluation_lists(table, "test", 5, 0, 3).values()] == [5, 0, 3]
    with pytest.raises(CorpusError, match=r"7 unseen speech clips .* it has 6: ask .* or raise corpora.test.unseen"):
        manifest.evaluation_lists(table, "test", 5, 7, 3)
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
