"""AudioSet in small, as parquet files and as a tree: what is listed, what a job reads, and what is said about the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published_corpora import flac, segment, write_parquet

from agrepa.artifacts.files import read_table
from agrepa.corpora import audioset, audioset_parquet, candidates, decode
from agrepa.corpora.clip import Clip
from agrepa.errors import AudioError, CorpusError
from agrepa.params import Experiment
from agrepa.params.corpora import Corpora, HeldOut, Source, Split
from agrepa.params.stages import CorporaSettings, DecodeSettings

SUBSETS = {"train": ["bal_train"], "validation": ["eval"], "test": ["eval"]}
SPEECH, CHILD, DOG, RAIN = "/m/09x0r", "/m/0ytgt", "/m/0bt9lr", "/m/06mb1"
NAMES = {SPEECH: "Speech", CHILD: "Child speech, kid speaking", DOG: "Dog", RAIN: "Rain"}
VIDEOS = {
    "bal_train": ["--aB-_cDeFg", "--Ab-_cDeFg", *(f"trainvideo{n}" for n in range(7))],
    "eval": [f"evalvideo{n:02d}" for n in range(8)],
}


def labels(number: int) -> list[str]:
    return [[DOG], [RAIN, DOG], [SPEECH, DOG], [CHILD]][number % 4]


def sound(number: int, seconds: float = 3.0, rate: int = 48000, channels: int = 1) -> bytes:
    wave = 0.2 * np.sin(2 * np.pi * (150 + 20 * number) * np.arange(round(rate * seconds)) / rate)
    return flac(wave, rate, channels, "PCM_24")


def row(video: str, number: int, audio: bytes | None) -> dict[str, object]:
    return segment(video, audio, labels(number), [NAMES[label] for label in labels(number)])


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Two files of bal_train and one of eval; recordings of 3 s, the first at 44.1 kHz in stereo."""
    root = tmp_path / "parquet"
    for subset, videos in VIDEOS.items():
        rows = [row(video, n, sound(n) if n else sound(0, 3, 44100, 2)) for n, video in enumerate(videos)]
        write_parquet(root / "data" / subset / "00.parquet", rows[:5])
        write_parquet(root / "data" / subset / "01.parquet", rows[5:])
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The same segments as published lists, ontology and recordings."""
    root = tmp_path / "tree"
    for subset, videos in VIDEOS.items():
        (root / subset).mkdir(parents=True)
        lines = [
            "# Segments csv created Sun Mar  5 10:54:31 2017",
            "# num_ytids=9",
            "# YTID, start_seconds, end_seconds, positive_labels",
        ]
        for number, video in enumerate(videos):
            lines.append(f'{video}, 30.000, 40.000, "{",".join(labels(number))}"')
            name = f"Y{video}" if number % 2 else video
            (root / subset / f"{name}.flac").write_bytes(sound(number))
        name = {"bal_train": "balanced_train_segments.csv", "eval": "eval_segments.csv"}[subset]
        (root / name).write_text("\n".join(lines) + "\n")
    ontology = [{"id": label, "name": name, "child_ids": []} for label, name in NAMES.items()]
    ontology[0]["child_ids"] = [CHILD]
    (root / "ontology.json").write_text(json.dumps(ontology))
    return root


def corpora(demo: Experiment, root: Path, **keys: object) -> Corpora:
    """Clips of up to 10 s, by what the source says."""
    source = Source.model_validate({"kind": "audioset", "root": str(root), "subsets": SUBSETS} | keys)
    held_out = HeldOut(speech=1, audio=None, unseen=0)
    limits = {"train": Split(speech=1, audio=None), "validation": held_out, "test": held_out, "max_seconds": 10.0}
    return demo.corpora.model_copy(update={"sources": {"sounds": source}} | limits)


def listed(settings: Corpora) -> list[Clip]:
    return audioset.clips({}, settings, settings.sources["sounds"])


def table_of(settings: Corpora) -> pd.DataFrame:
    """What the candidates stage would list, without its demand for speech."""
    return pd.DataFrame(candidates._row("sounds", clip, 0) for clip in listed(settings)).set_axis(
        list(candidates.COLUMNS), axis=1
    )


def decoded(settings: Corpora, folder: Path, shard: int = 0, shards: int = 1) -> pd.DataFrame:
    folder.mkdir(exist_ok=True)
    table_of(settings).to_parquet(folder / "candidates.parquet")
    p = DecodeSettings(corpora=settings, shards=shards)
    rows, clips = folder / f"{shard}.parquet", folder / str(shard)
    decode.run(p, shard=str(shard), candidates=folder / "candidates.parquet", archives=[], clips=clips, rows=rows)
    return read_table(rows).set_index("id")


def test_parquet_and_tree_list_the_same_clips(demo: Experiment, parquet: Path, tree: Path) -> None:
    first, second = listed(corpora(demo, parquet)), listed(corpora(demo, tree))
    assert [(c.id, c.split, c.label, c.seconds, c.family) for c in first] == [
        (c.id, c.split, c.label, c.seconds, c.family) for c in second
    ]
    assert len({clip.id for clip in first}) == 17  # two videos differ in the case of a letter alone
    assert [clip.label for clip in first[:4]] == ["Dog", "Rain", "Speech", "Child speech, kid speaking"]
    splits = {split: sum(clip.split == split for clip in first) for split in ("train", "validation", "test")}
    assert splits["train"] == 9
    assert min(splits.values()) > 0 and sum(splits.values()) == 17
    # A video's split is by its id alone: it stays where another one is left out.
    fewer = {clip.id: clip.split for clip in listed(corpora(demo, tree, without=["Speech"]))}
    assert {clip.id: clip.split for clip in first if clip.id in fewer} == fewer


def test_labels_leave_clips_out_with_all_below_them_where_there_is_an_ontology(
    demo: Experiment, parquet: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def left(root: Path, without: str) -> set[str]:
        return {clip.label for clip in listed(corpora(demo, root, without=[without]))}

    assert left(tree, "Speech") == left(tree, SPEECH) == {"Dog", "Rain"}
    assert "audioset: sounds: 8 segments left out for Speech\n" in capsys.readouterr().err
    assert left(parquet, "Speech") == left(parquet, SPEECH) == {"Dog", "Rain", NAMES[CHILD]}
    (parquet / "ontology.json").write_bytes((tree / "ontology.json").read_bytes())
    assert left(parquet, "Speech") == {"Dog", "Rain"}
    with pytest.raises(CorpusError, match=r"ontology.json: has no class 'Spech', .* correct its name or id"):
        left(tree, "Spech")
    (parquet / "ontology.json").unlink()
    with pytest.raises(CorpusError, match=r"no segment has the label 'Spech'"):
        left(parquet, "Spech")


def test_long_segments_are_cut_and_what_lies_behind_the_end_is_nothing(demo: Experiment, parquet: Path, tmp_path: Path) -> None:
    settings = corpora(demo, parquet).model_copy(update={"max_seconds": 2.0})
    pieces = [clip for clip in listed(settings) if clip.family == listed(settings)[0].family]
    assert [(clip.start, clip.seconds) for clip in pieces] == [(0, 2), (2, 2), (4, 2), (6, 2), (8, 2)]
    found = decoded(settings, tmp_path / "out").loc[[clip.id for clip in pieces]]
    assert found.seconds.round(2).tolist() == [2.0, 1.0, 0.0, 0.0, 0.0]
    assert (found.problem == "").all()


def test_parquet_and_tree_decode_to_the_same_audio(demo: Experiment, parquet: Path, tree: Path, tmp_path: Path) -> None:
    first, second = decoded(corpora(demo, parquet), tmp_path / "a"), decoded(corpora(demo, tree), tmp_path / "b")
    ids = [clip.id for clip in listed(corpora(demo, parquet))]
    assert first.seconds.round(2).tolist() == [3.0] * 17
    # The first of each subset is another recording here: of 44.1 kHz and two channels.
    same = [identity for number, identity in enumerate(ids) if number not in (0, 9)]
    assert first.sha256[same].tolist() == second.sha256[same].tolist()
    assert first.sha256[ids[0]] != second.sha256[ids[0]]


def garble(path: Path, group: int) -> None:
    """Overwrite the audio of a row group."""
    metadata = pq.ParquetFile(path).metadata
    (column,) = [
        metadata.row_group(group).column(i)
        for i in range(metadata.num_columns)
        if metadata.row_group(group).column(i).path_in_schema == "audio.bytes"
    ]
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + column.total_compressed_size] = (
        b"\xff" * column.total_compressed_size
    )
    path.write_bytes(bytes(data))


def test_listing_reads_no_audio_and_a_job_reads_its_own_row_groups_alone(demo: Experiment, parquet: Path, tmp_path: Path) -> None:
    settings, before = corpora(demo, parquet), listed(corpora(demo, parquet))
    garble(parquet / "data" / "bal_train" / "00.parquet", 1)
    assert listed(settings) == before
    blocks = list(dict.fromkeys(clip.block for clip in before))
    assert blocks[:3] == [f"data/bal_train/{place}" for place in ("00.parquet#00000", "00.parquet#00001", "01.parquet#00000")]
    assert len(blocks) == 7
    whole = decoded(settings, tmp_path / "out", 0, 2)
    assert set(whole.index) == {clip.id for clip in before if clip.block in blocks[::2]}
    with pytest.raises(CorpusError, match=r"bal_train/00.parquet: is cut off or no parquet file .*download it again"):
        decoded(settings, tmp_path / "out", 1, 2)


def test_a_row_group_is_read_forwards_once_for_rows_in_order(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    original = audioset_parquet._open
    monkeypatch.setattr(audioset_parquet, "_open", lambda path: opened.append(path.name) or original(path))
    rows = audioset_parquet.Rows(parquet)
    block = "data/bal_train/00.parquet#00000"
    assert [rows.audio(block, f"{block}/{n:06d}") for n in (0, 0, 2)] == [sound(0, 3, 44100, 2)] * 2 + [sound(2)]
    assert len(opened) == 1
    assert rows.audio(block, f"{block}/000001") == sound(1)
    assert len(opened) == 2


def test_rows_without_audio_and_damaged_ones_are_bounded(demo: Experiment, parquet: Path, tmp_path: Path) -> None:
    rows = [row(f"evalvideo{n:02d}", n, sound(n)) for n in range(5)]
    rows[1] = row("evalvideo01", 1, None)
    rows[3] = row("evalvideo03", 3, sound(3)[:3000])
    rows[4] = row("evalvideo04", 4, sound(4, rate=8000))
    write_parquet(parquet / "data" / "eval" / "00.parquet", rows)
    found = decoded(corpora(demo, parquet, tolerate=0.2), tmp_path / "within")
    broken = found.problem[found.problem != ""]
    assert sorted(identity.split("_")[1] for identity in broken.index) == ["evalvideo01", "evalvideo03", "evalvideo04"]
    assert "the row has no audio" in broken.filter(like="evalvideo01").iloc[0]
    assert "is at 8000 Hz and holds nothing up to bandwidth_hz 5000" in broken.filter(like="evalvideo04").iloc[0]
    assert (found["clip"][broken.index] == "").all()
    with pytest.raises(
        CorpusError, match=r"sounds: 3 of 17 clips are missing .*allows 0.1 of them.*\ndata/eval/00.parquet#00000/"
    ):
        decoded(corpora(demo, parquet, tolerate=0.1), tmp_path / "above")
    with pytest.raises(AudioError, match="the row has no audio"):
        decoded(corpora(demo, parquet), tmp_path / "none")


def test_segments_without_recordings_are_listed_and_bounded(demo: Experiment, tree: Path, tmp_path: Path) -> None:
    (tree / "bal_train" / "trainvideo0.flac").unlink()
    missing = [clip for clip in listed(corpora(demo, tree)) if clip.problem]
    assert [clip.file for clip in missing] == ["bal_train/trainvideo0.flac"]
    out, unusable = tmp_path / "candidates.parquet", tmp_path / "unusable.csv"
    for tolerate, message in ((0.05, r"sounds: 1 of 17 clips are missing"), (0.1, "no speech clip")):
        settings = CorporaSettings(corpora=corpora(demo, tree, tolerate=tolerate), seed=0)
        with pytest.raises(CorpusError, match=message):  # of speech there is none here, but that is looked at afterwards
            candidates.run(settings, archives=[], out=out, unusable=unusable)
        table = pd.read_csv(unusable)
        assert table.file.tolist() == ["bal_train/trainvideo0.flac"]
        assert table.problem.tolist() == [f"there is no recording of it in {tree}/bal_train"]


def test_what_is_no_audioset_is_named(demo: Experiment, parquet: Path, tree: Path, tmp_path: Path) -> None:
    path = parquet / "data" / "eval" / "01.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match=r"eval/01.parquet: is cut off or no parquet file .*download it again"):
        listed(corpora(demo, parquet))
    pq.write_table(pa.table({"video_id": ["x"], "labels": [["y"]]}), path)
    with pytest.raises(CorpusError, match=r"has no column human_labels, audio: is it of agkphysics/AudioSet"):
        listed(corpora(demo, parquet))
    with pytest.raises(CorpusError, match=r"has no subset 'balanced': choose from bal_train, unbal_train, eval"):
        listed(corpora(demo, tree, subsets={"train": ["balanced"]}))
    with pytest.raises(CorpusError, match=r"unbalanced_train_segments.csv is missing, and so are parquet files in .*unbal_train"):
        listed(corpora(demo, tree, subsets={"train": ["unbal_train"]}))
    (tree / "eval_segments.csv").write_text("# YTID\nabc, 0.000, ten, /m/1\n")
    with pytest.raises(CorpusError, match=r"eval_segments.csv, line 2: .* is not YTID, start_seconds"):
        listed(corpora(demo, tree))
    (tree / "ontology.json").write_text("{}[")
    with pytest.raises(CorpusError, match=r"ontology.json: is not AudioSet's ontology"):
        listed(corpora(demo, tree))


def test_a_whole_video_is_not_taken_for_its_segment(demo: Experiment, tree: Path) -> None:
    (tree / "bal_train" / "trainvideo0.flac").write_bytes(sound(2, 12.0))
    settings = corpora(demo, tree)
    decode = audioset.reader({}, settings, settings.sources["sounds"])
    first, second = (clip for clip in listed(settings) if clip.file.endswith(("trainvideo0.flac", "trainvideo2.flac")))
    assert len(decode(second)[0]) == 3 * 48000
    with pytest.raises(AudioError, match=r"bal_train/trainvideo0.flac: is of 12 s and no segment is: cut the segment out"):
        decode(first)


def test_a_shard_may_be_empty(demo: Experiment, parquet: Path, tmp_path: Path) -> None:
    shards = [decoded(corpora(demo, parquet), tmp_path / "out", k, 9) for k in range(9)]
    assert sorted(map(len, shards)) == [0, 0, 1, 2, 2, 3, 3, 3, 3]
