"""A person's own recordings: the guide as written, and what is said about recordings that cannot be used."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from prepared import prepare

from agrepa.corpora import attribution, folder, manifest
from agrepa.errors import CorpusError
from agrepa.params import Experiment
from agrepa.params.corpora import Corpora, Source
from agrepa.params.stages import AttributionSettings

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "add-a-corpus.md"
HEADER = "path,domain,text,speaker,label,split"


def block(language: str) -> str:
    """The first code block of a language in docs/add-a-corpus.md."""
    found = re.search(f"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def record(path: Path, rate: int = 16000, seconds: float = 1.5, seed: int = 0, container: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(seed).normal(0, 0.1, round(rate * seconds))
    soundfile.write(path, wave, rate, format=container)


def listing(corpora: Corpora, path: Path) -> Corpora:
    """The corpora with the recordings that another CSV lists."""
    mine = corpora.sources["mine"].model_copy(update={"csv": str(path)})
    return corpora.model_copy(update={"sources": {"mine": mine}})


@pytest.fixture
def mine(demo: Experiment, tmp_path: Path) -> Corpora:
    """The corpora and the recordings of docs/add-a-corpus.md."""
    changes = yaml.safe_load(block("yaml"))["corpora"]
    (tmp_path / "list.csv").write_text(block("csv"), encoding="utf-8")
    for number, line in enumerate(block("csv").splitlines()[1:]):
        record(tmp_path / line.split(",")[0], seed=number, seconds=23 if "rain.wav" in line else 1.5)
    return listing(Corpora.model_validate(demo.corpora.model_dump() | changes), tmp_path / "list.csv")


def test_the_guide_works_as_written(mine: Corpora, demo: Experiment, tmp_path: Path) -> None:
    path = prepare(mine, [], tmp_path)
    table = manifest.read(path).set_index("id", drop=False)
    assert sorted(table.id) == [
        "mine_0002_001",
        "mine_0003_002",
        "mine_0004_001",
        "mine_0005_001",
        "mine_0006_rain",
        "mine_0006_rain_part2",
        "mine_0006_rain_part3",
        "mine_0007_kettle",
        "mine_0008_bell",
    ]
    assert table.text["mine_0002_001"] == "Good morning, everyone."
    # The workflow looks at every recording, so that one that is replaced is read again.
    listed = folder.listed(mine.sources["mine"])
    assert listed[0] == str(tmp_path / "list.csv")
    assert {str(tmp_path / file) for file in table.file} == set(listed[1:])
    assert table.family["mine_0002_001"] == "mine_anna"
    assert table.seconds["mine_0006_rain_part3"] == pytest.approx(3, abs=1e-3)
    settings = AttributionSettings(archives=demo.archives, sources=mine.sources, vocoder=demo.evaluation.vocoder)
    attribution.run(settings, manifest=path, out=tmp_path / "A.md")
    text = (tmp_path / "A.md").read_text()
    assert "| mine | your own recordings |" in text
    assert "### Files of mine" in text


def test_two_listings_are_two_corpora(mine: Corpora, tmp_path: Path) -> None:
    text = (tmp_path / "list.csv").read_text().replace("anna,,train", "dora,,train").replace("sounds/rain.wav", "sounds/wind.wav")
    (tmp_path / "more.csv").write_text(text.replace("garden recorder", "balcony"))
    for number, line in enumerate(text.splitlines()[1:]):
        record(tmp_path / "more" / line.split(",")[0], seed=100 + number)
    (tmp_path / "more.csv").rename(tmp_path / "more" / "list.csv")
    both = mine.sources | {"other": mine.sources["mine"].model_copy(update={"csv": str(tmp_path / "more" / "list.csv")})}
    table = manifest.read(prepare(mine.model_copy(update={"sources": both}), [], tmp_path))
    assert table.corpus.value_counts().to_dict() == {"mine": 9, "other": 7}
    assert {"mine_0002_001", "other_0002_001"} <= set(table.id)


def test_every_problem_of_a_listing_is_reported_at_once(mine: Corpora, tmp_path: Path) -> None:
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
        "good.wav,speech,Hello.,,,train": "row 5: 1 utterances name no speaker, from good.wav on, and count as those of one, "
        "'unknown': name the speaker of each, so that nobody is in two splits, or set split_by: utterance in "
        "corpora.sources.mine",
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
    bad = listing(mine, tmp_path / "bad.csv")
    (tmp_path / "bad.csv").write_text("\n".join([HEADER, *rows]))
    with pytest.raises(CorpusError) as failure:
        folder.clips({}, bad, bad.sources["mine"])
    message = str(failure.value)
    assert f"{tmp_path}/bad.csv:" in message
    for expected in rows.values():
        assert expected in message
    (tmp_path / "bad.csv").write_text("\n".join([HEADER, *["absent.wav,audio,,,,train"] * 30]))
    with pytest.raises(CorpusError, match=r"30 problems:(\n.*){20}\nand 10 more"):
        folder.clips({}, bad, bad.sources["mine"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,domain,speaker\n", r"no column text: the first row must name path and text \(found: path, domain, speaker\)"),
        (HEADER.encode() + b",notes\n", r"unknown column notes: use path, text, domain, speaker, label, split, licence, attr"),
        (HEADER.encode() + b"\n", r"lists no recordings"),
        (b"", r"no column path, text: .* \(found: nothing\)"),
        (HEADER.encode() + b"\nx.wav,speech,na\xefve,a,,train\n", r"not a CSV in UTF-8 .*save it again"),
        (None, r"no such file: csv in corpora.sources must name the CSV"),
    ],
)
def test_a_listing_that_is_none(content: bytes | None, message: str, mine: Corpora, tmp_path: Path) -> None:
    if content is None:
        (tmp_path / "list.csv").unlink()
    else:
        (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        folder.clips({}, mine, mine.sources["mine"])


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("I will call you tomorrow.,cleo", "I will call you tomorrow.,anna", r"speaker 'anna' is in more than one split"),
        ("I will call you tomorrow.", "it rained ALL night!", r"transcript 'it rained all night' is in more than one split"),
        ("sounds/bell.ogg", "sounds/kettle.wav", r"audio '[0-9a-f]{60}' is in more than one split"),
        ("bell.ogg,audio,,", "bell.ogg,audio,,garden recorder", r"family 'mine_garden_recorder' is in more than one split"),
        ("sounds/bell.ogg,audio,,,bell,test\n", "", r"no audio clip of 0.4-10.0 s for the test split in mine: add recordings"),
    ],
)
def test_a_listing_that_leaks_or_leaves_a_split_empty_stops(
    before: str, after: str, message: str, mine: Corpora, tmp_path: Path
) -> None:
    text = (tmp_path / "list.csv").read_text(encoding="utf-8")
    assert before in text
    (tmp_path / "list.csv").write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(CorpusError, match=message):
        prepare(mine, [], tmp_path)
    assert not (tmp_path / "manifest.parquet").exists()


def prompts(folder_: Path, corpora: Corpora, rows: list[str], header: str = "path,text", **keys: object) -> Corpora:
    """The corpora with recordings of a second each, listed in a CSV; a row starts with its path."""
    for number, row in enumerate(rows):
        record(folder_ / row.split(",")[0], seconds=1, seed=number)
    (folder_ / "prompts.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    source = {"kind": "folder", "csv": str(folder_ / "prompts.csv")} | keys
    return corpora.model_copy(update={"sources": {"mine": Source.model_validate(source)}})


def test_prompts_of_one_speaker_need_paths_and_texts_alone(
    mine: Corpora, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"p{n:02d}.wav,Prompt {n}." for n in range(20)] + [f"s{n}.wav," for n in range(4)]
    ours = prompts(tmp_path, mine, rows, split_by="utterance")
    found = folder.clips({}, ours, ours.sources["mine"])
    assert "folder: mine: 20 utterances name no speaker and count as those of one, 'unknown'\n" in capsys.readouterr().err
    assert Counter((clip.domain, clip.split) for clip in found) == {
        **{("speech", "train"): 16, ("speech", "validation"): 2, ("speech", "test"): 2},
        **{("audio", "train"): 2, ("audio", "validation"): 1, ("audio", "test"): 1},
    }
    assert {clip.speaker for clip in found if clip.domain == "speech"} == {"mine_unknown"}
    assert {clip.label for clip in found} == {"speech", "audio"}
    # A path decides by itself: the order of the rows does not matter.
    again = prompts(tmp_path, mine, rows[::-1], split_by="utterance")
    split = {clip.file: clip.split for clip in found}
    assert {clip.file: clip.split for clip in folder.clips({}, again, again.sources["mine"])} == split
    table = manifest.read(prepare(ours, [], tmp_path))
    assert dict(zip(table.file, table.split, strict=True)) == split
    other = prompts(tmp_path, mine, rows, split_by="utterance", split_seed=1)
    assert {clip.file: clip.split for clip in folder.clips({}, other, other.sources["mine"])} != split


@pytest.mark.parametrize(
    ("header", "row", "keys", "message"),
    [
        (
            "path,text",
            "Hello.",
            {},
            "row 2: 3 recordings have no split, from a.wav on: name one of train, validation, test for each",
        ),
        (
            "path,text",
            "Hello.",
            {"split_by": "speaker"},
            "row 2: 3 utterances name no speaker, from a.wav on, and count as those of",
        ),
        (
            "path,text,speaker",
            "Hello.,anna",
            {"split_by": "utterance"},
            "transcript 'hello' is in more than one split: a.wav (train), b.wav (validation): keep it in one, or set "
            "shared_texts: move or drop",
        ),
    ],
)
def test_what_is_left_empty_and_needed_is_said_once(
    header: str, row: str, keys: dict[str, str], message: str, mine: Corpora, tmp_path: Path
) -> None:
    ours = prompts(tmp_path, mine, [f"{name}.wav,{row}" for name in "abc"], header, **keys)
    with pytest.raises(CorpusError, match=re.escape(message)):
        folder.clips({}, ours, ours.sources["mine"])


def test_transcripts_of_two_splits_move_or_are_dropped(mine: Corpora, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["a.wav,Hello.,train", "b.wav,hello,test", "c.wav,Good morning.,train", "d.wav,Good night.,validation"]
    header = "path,text,split"
    moved = prompts(tmp_path, mine, rows, header, split_by="utterance", shared_texts="move")
    assert [clip.split for clip in folder.clips({}, moved, moved.sources["mine"])] == ["test", "test", "train", "validation"]
    expected = "2 utterances share 1 transcripts, each of which stays in one split; 1 moved from the split that the CSV names\n"
    assert expected in capsys.readouterr().err
    dropped = prompts(tmp_path, mine, rows, header, split_by="utterance", shared_texts="drop")
    assert [clip.file for clip in folder.clips({}, dropped, dropped.sources["mine"])] == ["b.wav", "c.wav", "d.wav"]
    assert "folder: mine: 1 utterances left out whose transcripts another split has\n" in capsys.readouterr().err
