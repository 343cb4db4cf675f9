"""The mel stage and the statistics over its features."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch

from agrepa.artifacts.features import FeatureStore, index, write_shard
from agrepa.artifacts.files import read_json, read_table, sha256, write_table
from agrepa.audio import files
from agrepa.audio.mel import log_mel
from agrepa.corpora.manifest import COLUMNS
from agrepa.data import mel_features, mel_statistics
from agrepa.errors import ArtifactError, AudioError, CorpusError
from agrepa.params.audio import Mel
from agrepa.params.stages import MelSettings, MelStatisticsSettings, Settings

MEL = Mel(
    n_fft=1024,
    hop=256,
    bands=80,
    f_min=0.0,
    f_max=8000.0,
    scale="slaney",
    norm="slaney",
    padding="same",
    floor=1e-5,
    statistics="bands",
)
IDS = ("b_1", "a_2", "c_3")


def write_clip(folder: Path, clip: str, wave: np.ndarray) -> None:
    """Write a clip and put its hash into the manifest."""
    files.write_flac(folder / "clips" / f"{clip}.flac", wave, 16000)
    table = read_table(folder / "manifest.parquet")
    table.loc[table.id == clip, "sha256"] = sha256(folder / "clips" / f"{clip}.flac")
    write_table(folder / "manifest.parquet", table)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A manifest of three clips of noise, at 16 kHz; the last one is not for training."""
    table = pd.DataFrame({column: [kind()] * 3 for column, kind in COLUMNS.items()})
    table["id"], table["split"] = list(IDS), ["train", "train", "test"]
    table["clip"] = [str(tmp_path / "clips" / f"{clip}.flac") for clip in IDS]
    write_table(tmp_path / "manifest.parquet", table)
    for k, clip in enumerate(IDS):
        noise = torch.randn(4000 + 1000 * k, generator=torch.Generator().manual_seed(0)) * 0.1 * (k + 1)
        write_clip(tmp_path, clip, noise.numpy())
    return tmp_path


def mels(corpus: Path, shards: int) -> Path:
    """The index of the mel features of all shards."""
    outs = [corpus / f"{shards}_{k}.safetensors" for k in range(shards)]
    for k, out in enumerate(outs):
        settings = MelSettings(mel=MEL, sample_rate=16000, shards=shards)
        mel_features.run(settings, shard=str(k), manifest=corpus / "manifest.parquet", out=out)
    index(Settings(), store="mel", shards=outs, out=corpus / "index.parquet")
    return corpus / "index.parquet"


def statistics(corpus: Path, mel: Path, over: Literal["bands", "global"] = "bands") -> dict[str, Any]:
    mel_statistics.run(
        MelStatisticsSettings(statistics=over), manifest=corpus / "manifest.parquet", mel=mel, out=corpus / "statistics.json"
    )
    return read_json(corpus / "statistics.json")


def given(corpus: Path, values: dict[str, torch.Tensor]) -> Path:
    """The index of some mel features."""
    write_shard(corpus / "0.safetensors", "mel", [(clip, "mel", tensor, 62.5) for clip, tensor in values.items()])
    index(Settings(), store="mel", shards=[corpus / "0.safetensors"], out=corpus / "index.parquet")
    return corpus / "index.parquet"


def test_mel_stage(corpus: Path) -> None:
    store = FeatureStore([mels(corpus, 2)]).feature("mel", "mel")
    assert list(store.frames) == ["b_1", "c_3", "a_2"]
    wave, _ = files.read(corpus / "clips" / "a_2.flac")
    torch.testing.assert_close(store["a_2"], log_mel(torch.from_numpy(wave)[None], MEL, 16000)[0], rtol=0, atol=0)
    assert store.rate["a_2"] == 62.5
    assert store["a_2"].dtype == torch.float32


def test_mel_stage_names_the_clip(corpus: Path) -> None:
    write_clip(corpus, "b_1", np.zeros(300, np.float32))
    with pytest.raises(AudioError, match=r"b_1\.flac: a clip of 300 samples is too short"):
        mels(corpus, 1)
    (corpus / "clips" / "b_1.flac").write_bytes((corpus / "clips" / "a_2.flac").read_bytes())
    with pytest.raises(CorpusError, match=r"b_1\.flac: the clip b_1 has SHA-256"):
        mels(corpus, 1)
    (corpus / "clips" / "b_1.flac").unlink()
    with pytest.raises(CorpusError, match=r"b_1\.flac: the clip b_1 of the manifest is missing"):
        mels(corpus, 1)


def test_statistics_are_those_of_all_training_values_however_they_are_sharded(corpus: Path) -> None:
    results = []
    for shards in (1, 2):
        mel = mels(corpus, shards)
        whole = statistics(corpus, mel, "global")
        found = statistics(corpus, mel)
        results.append((corpus / "statistics.json").read_bytes())
    store = FeatureStore([mel]).feature("mel", "mel")
    values = torch.cat([store["b_1"], store["a_2"]]).double()
    assert results[0] == results[1]
    assert found["clips"] == 2
    assert found["frames"] == len(values) == 15 + 19
    assert found["mean"] == pytest.approx(values.mean(0).tolist(), rel=1e-12)
    assert found["std"] == pytest.approx(values.std(0, correction=0).tolist(), rel=1e-12)
    assert whole["mean"] == pytest.approx([values.mean().item()] * MEL.bands, rel=1e-12)
    assert whole["std"] == pytest.approx([values.std(correction=0).item()] * MEL.bands, rel=1e-12)


def test_statistics_are_stable_far_from_zero(corpus: Path) -> None:
    mel = given(corpus, {"b_1": torch.full((50, 4), 1e4), "a_2": torch.full((50, 4), 1e4) + 0.5})
    assert statistics(corpus, mel) == {"mean": [1e4 + 0.25] * 4, "std": [0.25] * 4, "frames": 100, "clips": 2}


def test_a_band_that_hardly_moves_is_not_blown_up(corpus: Path) -> None:
    loud = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1.0, 1e-4, 0.0])
    found = statistics(corpus, given(corpus, {"b_1": loud, "a_2": loud.clone()}))
    assert found["std"][2:] == pytest.approx([0.1 * loud.std(correction=0).item()] * 2, rel=1e-5)
    assert found["std"][0] == pytest.approx(loud[:, 0].std(correction=0).item(), rel=1e-5)


def test_statistics_refuse_silence_and_missing_clips(corpus: Path) -> None:
    with pytest.raises(ArtifactError, match="no feature for clip 'a_2'"):
        statistics(corpus, given(corpus, {"b_1": torch.zeros(5, 4)}))
    with pytest.raises(ArtifactError, match="the clips are silent"):
        statistics(corpus, given(corpus, {clip: torch.zeros(5, 4) for clip in ("a_2", "b_1")}))
