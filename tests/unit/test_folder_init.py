"""A first experiment on a folder of recordings: what is written for it, and what is said where that cannot be."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from agrepa import params
from agrepa.corpora.folder_init import init
from agrepa.errors import CorpusError
from agrepa.pipeline.command_line import app


def record(path: Path, seconds: float, seed: int, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, round(rate * seconds)), rate)


@pytest.fixture
def place(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in with the shipped params and 30 prompts with transcripts."""
    shutil.copytree(root / "params", tmp_path / "params")
    for n in range(30):
        record(tmp_path / "mine" / f"p{n:02d}.wav", 1.0, n, 22050)
        (tmp_path / "mine" / f"p{n:02d}.txt").write_text(f"Prompt {n},\nspoken.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_becomes_an_experiment_that_its_recordings_can_fill(place: Path) -> None:
    for n in range(20):
        record(place / "mine" / "sounds" / f"s{n:02d}.flac", 2.0, 100 + n)
    record(place / "mine" / ".hidden.wav", 1.0, 0)
    said = CliRunner().invoke(app, ["folder", "init", "mine"])
    assert said.exit_code == 0, said.output
    assert (
        "mine/recordings.csv: 50 recordings\n"
        "  train: 18 speech clips, 12 audio clips\n"
        "  validation: 6 speech clips, 4 audio clips\n"
        "  test: 6 speech clips, 4 audio clips\n"
        "params/mine.yaml: written; look through it, then run\n"
        "  make reproduce PARAMS=params/mine.yaml\n"
    ) in said.output
    rows = list(csv.reader((place / "mine" / "recordings.csv").open(encoding="utf-8")))
    assert rows[:2] == [["path", "domain", "text"], ["p00.wav", "speech", "Prompt 0, spoken."]]
    assert rows[31] == ["sounds/s00.flac", "audio", ""]
    p = params.load("params/mine.yaml")
    assert p.corpora.sources["mine"].model_dump(exclude={"archives"}) == {
        "kind": "folder",
        "csv": "mine/recordings.csv",
        "split_by": "utterance",
        "split_seed": 0,
        "shares": {"train": 0.6, "validation": 0.2, "test": 0.2},
        "shared_texts": "move",
    }
    assert (p.corpora.bandwidth_hz, p.corpora.max_seconds, p.corpora.train.speech) == (8000, 10, None)
    assert (p.evaluation.speech_clips, p.evaluation.audio_clips, p.evaluation.unseen_clips) == (6, 4, 0)
    assert {name: grid.clips for name, grid in p.probes.grids().items()} == {
        "fog_a": 4,
        "lasp": 4,
        "gradient_norm": 4,
        "fog_a_released": 1,
    }
    # 18 s of speech and 24 s of audio to train on.
    assert (p.tokens.speech.vocabulary, p.tokens.second_speech.vocabulary, p.tokens.audio.vocabulary) == (16, 16, 16)
    assert (p.evaluation.frechet.reference_clips, p.reporting.listening_clips) == (12, 3)


def test_speech_alone_is_an_experiment_too(place: Path) -> None:
    init(Path("mine"), Path("params/mine.yaml"), Path("params/demo.yaml"))
    p = params.load("params/mine.yaml")
    assert p.domains == ("speech",)
    assert (p.evaluation.speech_clips, p.evaluation.audio_clips, p.reporting.listening_clips) == (3, 0, 3)
    assert (p.tokens.speech.vocabulary, p.tokens.audio.vocabulary) == (16, 128)
    text = (place / "params" / "mine.yaml").read_text(encoding="utf-8")
    assert "  train: {speech: null, audio: 0}  # audio: 0 leaves general audio out, and what is said of it below\n" in text


def test_comments_of_the_template_stay(place: Path) -> None:
    for n in range(20):
        record(place / "mine" / f"s{n:02d}.wav", 2.0, 100 + n)
    init(Path("mine"), Path("params/own.yaml"), Path("params/demo.yaml"))
    text = (place / "params" / "own.yaml").read_text(encoding="utf-8")
    assert text.startswith(
        "# own: own recordings, listed in mine/recordings.csv; written by agrepa folder init from params/demo.yaml."
    )
    assert "  max_seconds: 10.0           # longer utterances are dropped, longer sounds are cut\n" in text
    assert "  speech_clips: 6             # of the main list, which every row is made of, anchors too\n" in text
    assert not re.search("queen|game", text)
    known = (place / "params" / "demo.yaml").read_text(encoding="utf-8")
    kept = [line for line in known.splitlines() if line in text.splitlines()]
    assert len(kept) > 0.75 * len(known.splitlines())


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ("", ["absent", "params/mine.yaml"], "absent: no such folder: name the one that your recordings are in"),
        (
            "",
            ["params", "params/mine.yaml"],
            "params: holds no recording (.wav, .flac, .ogg, .aif, .aiff, .mp3): name the folder",
        ),
        (
            "",
            ["mine", "params/demo.yaml"],
            "params/demo.yaml: is there already and is not overwritten: remove it, or use it as it",
        ),
        ("mine/recordings.csv", ["mine", "params/mine.yaml"], "mine/recordings.csv: is there already and is not overwritten"),
        ("", ["mine", "params/My-own.yaml"], "params/My-own.yaml: 'My-own' cannot name an experiment: use a-z, 0-9 and _"),
        (
            "",
            ["mine", "mine.yaml"],
            "mine.yaml: there is no arms.yaml beside it, which every experiment reads: use --out params/mine",
        ),
        ("mine/p03.txt", ["mine", "params/mine.yaml"], "mine/p03.txt: is empty: write what is said in p03.wav, or remove it if"),
    ],
)
def test_what_cannot_be_begun_with(change: str, arguments: list[str], message: str, place: Path) -> None:
    if change:
        (place / change).write_text("", encoding="utf-8")
    with pytest.raises(CorpusError, match=re.escape(message)):
        init(Path(arguments[0]), Path(arguments[1]), Path("params/demo.yaml"))
    assert not (place / "params" / "mine.yaml").exists()


def test_nothing_is_left_behind_where_the_recordings_cannot_be_used(place: Path) -> None:
    soundfile.write(place / "mine" / "p00.wav", np.full((16000, 2), 0.1), 16000)
    with pytest.raises(CorpusError, match=r"row 2: mine/p00.wav: has 2 channels: mix it down to one channel"):
        init(Path("mine"), Path("params/mine.yaml"), Path("params/demo.yaml"))
    assert not list(place.glob("mine/*.csv")) and not (place / "params" / "mine.yaml").exists()


def test_too_few_recordings_and_none_with_a_transcript(place: Path) -> None:
    for n in range(9):
        record(place / "mine" / f"s{n:02d}.wav", 2.0, 100 + n)
    message = (
        "mine: 2 clips of audio for the validation split, of 9 recordings, and 3 are the fewest: add recordings of 0.4-10 s, 15"
    )
    with pytest.raises(CorpusError, match=re.escape(message)):
        init(Path("mine"), Path("params/mine.yaml"), Path("params/demo.yaml"))
    for path in place.glob("mine/*.txt"):
        path.unlink()
    with pytest.raises(
        CorpusError, match=r"mine: none of the 39 recordings has a transcript, and an experiment needs speech: write"
    ):
        init(Path("mine"), Path("params/mine.yaml"), Path("params/demo.yaml"))
