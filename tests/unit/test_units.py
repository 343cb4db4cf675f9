"""Unit error rate: counting, and the stage with encoders that read the tokens off a square wave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_results import settings

from agrepa.artifacts.features import index, write_shard
from agrepa.artifacts.files import read_json, read_table, write_table
from agrepa.audio import files
from agrepa.corpora.manifest import COLUMNS
from agrepa.encoders import extract
from agrepa.errors import ArtifactError
from agrepa.evaluation import units
from agrepa.params import Experiment
from agrepa.params.encoders import Encoder
from agrepa.params.stages import Settings
from agrepa.tokens.codebook import Codebook

FRAME = 320
CODES = {
    "queen_a": [3, 3, 1, 0],
    "queen_b": [2, 1, 2, 1],
    "queen_z": [3, 0],
    "ufoai_a": [1, 1, 1, 2],
}  # of each clip, as the recordings have them
MADE = {
    "queen_a": [3, 1, 1, 0],
    "queen_b": [2, 1, 0, 1],
    "queen_z": [3, 1],
    "ufoai_a": [0, 1, 2, 3],
}  # as the generated audio has them


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ([1, 1, 2], [1, 2, 2, 2], (0, 2)),
        ([1, 3, 2], [1, 2], (1, 2)),
        ([5], [1, 2, 1], (3, 3)),
        ([], [4, 4], (1, 1)),
    ],
)
def test_runs_of_one_unit_count_once(found: list[int], wanted: list[int], expected: tuple[int, int]) -> None:
    assert units.unit_errors(np.array(found, dtype=int), np.array(wanted, dtype=int)) == expected


@pytest.fixture
def row(tmp_path: Path, demo: Experiment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A generated folder whose clips hold their codes as the height of steps, and encoders that give those heights."""
    loaded = []

    def load(encoder: object, archives: list[Path]) -> object:
        loaded.append(encoder)
        return encoder

    def encode(
        network: object, folder: Path, clips: Sequence[str], rate: int, frames: Sequence[str], settings: Encoder
    ) -> Iterator[tuple[str, str, torch.Tensor, float]]:
        for clip in clips:
            wave, _ = files.read(folder / f"{clip}.flac", expected_rate=rate)
            yield clip, frames[0], torch.from_numpy(wave.reshape(-1, FRAME).mean(1, keepdims=True) * 10), 50.0

    monkeypatch.setattr(extract, "load", load)
    monkeypatch.setattr(extract, "encode_folder", encode)
    listing = {"queen_a": "main", "queen_b": "main", "queen_z": "unseen", "ufoai_a": ""}
    domains = {clip: "speech" if clip < "r" else "audio" for clip in CODES}
    rows = [{"id": clip, "domain": domains[clip], "family": clip[0], "listing": listing[clip]} for clip in CODES]
    write_table(tmp_path / "manifest.parquet", pd.DataFrame(rows).reindex(columns=list(COLUMNS)))
    for clip, codes in MADE.items():
        wave = np.repeat(np.array(codes, np.float32) / 10, FRAME)
        files.write_flac(tmp_path / "audio" / f"{clip}.flac", wave, demo.corpora.sample_rate)
    for stream in ("speech", "audio"):
        book = Codebook(stream, np.zeros(1, np.float32), np.ones(1, np.float32), np.arange(4, dtype=np.float32)[:, None])
        book.save(tmp_path / f"{stream}.safetensors")
    shift = {"q": 0, "u": demo.tokens.speech.vocabulary}  # sound units come behind those of speech
    ids = {clip: torch.tensor([[code + shift[clip[0]], 0] for code in codes], dtype=torch.int32) for clip, codes in CODES.items()}
    write_shard(tmp_path / "tokens.safetensors", "tokens", ((clip, "tokens", part, 50.0) for clip, part in ids.items()))
    index(Settings(), store="mel", shards=[tmp_path / "tokens.safetensors"], out=tmp_path / "tokens.parquet")
    return tmp_path


def score(demo: Experiment, folder: Path, codebooks: Sequence[str] = ("speech", "audio")) -> None:
    units.run(
        settings(demo, "units"),
        manifest=folder / "manifest.parquet",
        audio=folder / "audio",
        tokens=folder / "tokens.parquet",
        codebooks=[folder / f"{stream}.safetensors" for stream in codebooks],
        archives=[],
        out=folder / "units.json",
        utterances=folder / "units.parquet",
    )


def test_generated_audio_is_compared_with_the_tokens_of_its_clip(demo: Experiment, row: Path) -> None:
    score(demo, row)
    table = read_table(row / "units.parquet")
    assert table.to_dict("list") == {
        "clip": ["ufoai_a", "queen_a", "queen_b", "queen_z"],
        "family": ["u", "q", "q", "q"],
        "domain": ["audio", "speech", "speech", "speech"],
        "listing": ["", "main", "main", "unseen"],
        "errors": [2, 0, 1, 1],
        "units": [2, 3, 4, 2],
    }
    found = read_json(row / "units.json")
    assert found["speech_uer"]["value"] == pytest.approx(100 / 7) and found["audio_uer"]["value"] == 100
    assert (found["speech_uer"]["n"], found["audio_uer"]["n"]) == (2, 1)
    assert (found["speech_uer_unseen"]["n"], found["speech_uer_unseen"]["value"]) == (1, 50)


def test_codebooks_may_come_in_any_order_and_both_must_be_there(demo: Experiment, row: Path) -> None:
    score(demo, row, ("audio", "speech"))
    with pytest.raises(ArtifactError, match="no codebook of stream audio"):
        score(demo, row, ("speech",))


def test_a_foreign_clip_or_an_empty_folder_is_an_error(demo: Experiment, row: Path) -> None:
    (row / "audio" / "stray.flac").touch()
    with pytest.raises(ArtifactError, match=r"lacks: \['stray'\]"):
        score(demo, row)
    for file in (row / "audio").iterdir():
        file.unlink()
    with pytest.raises(ArtifactError, match=r"holds no \.flac clip"):
        score(demo, row)
