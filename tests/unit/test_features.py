"""The feature store: shards, indexes, and what is said when one of them does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from agrepa.artifacts.features import Feature, FeatureStore, index, write_shard
from agrepa.artifacts.files import read_table, sha256, write_table
from agrepa.errors import ArtifactError
from agrepa.params.stages import Settings

RATES = {"layer": 50.0, "layer.mean": 0.0}


def tensor(clip: str, output: str) -> torch.Tensor:
    length = {"a_1": 3, "b_2": 5, "c_3": 4}[clip]
    return torch.arange(2.0 * length).reshape(length, 2) + len(output) if output == "layer" else torch.full((2,), float(length))


@pytest.fixture
def stored(tmp_path: Path) -> list[Path]:
    """Two shards of encoder "net" with two outputs, one empty one, and their index, the last path."""
    shards = [tmp_path / f"{k}.safetensors" for k in range(3)]
    for path, clips in zip(shards, (("a_1", "c_3"), ("b_2",), ()), strict=True):
        write_shard(path, "net", [(clip, output, tensor(clip, output), rate) for clip in clips for output, rate in RATES.items()])
    index(Settings(), store="mel", shards=shards, out=tmp_path / "index.parquet")
    return [*shards, tmp_path / "index.parquet"]


def test_a_feature_is_found_by_encoder_output_and_clip(stored: list[Path]) -> None:
    store = FeatureStore([stored[-1]])
    for output, rate in RATES.items():
        feature = store.feature("net", output)
        assert len(feature) == 3
        assert feature.rate == dict.fromkeys(("a_1", "b_2", "c_3"), rate)
        assert feature.frames == {clip: len(tensor(clip, output)) for clip in ("a_1", "b_2", "c_3")}
        for clip in feature.frames:
            assert torch.equal(feature[clip], tensor(clip, output))
    assert "a_1" in feature
    assert "d_4" not in feature
    with pytest.raises(ArtifactError, match=r"net/layer.mean: there is no feature for clip 'd_4' among 3"):
        feature["d_4"]


def test_where_the_first_frame_lies_is_kept_and_is_half_a_frame_unless_said(tmp_path: Path) -> None:
    said = [("a_1", "layer", tensor("a_1", "layer"), 50.0, 0.0), ("b_2", "layer", tensor("b_2", "layer"), 50.0)]
    write_shard(tmp_path / "0.safetensors", "net", [*said, ("a_1", "layer.mean", torch.zeros(1, 2), 0.0)])
    index(Settings(), store="net", shards=[tmp_path / "0.safetensors"], out=tmp_path / "index.parquet")
    store = FeatureStore([tmp_path / "index.parquet"])
    assert store.feature("net", "layer").first == {"a_1": 0.0, "b_2": 0.01}
    assert Feature.of_shard(tmp_path / "0.safetensors", "layer").first == {"a_1": 0.0, "b_2": 0.01}
    assert store.feature("net", "layer.mean").first == {"a_1": 0.0}


def test_an_index_says_what_its_shards_are(stored: list[Path]) -> None:
    table = read_table(stored[-1])
    assert list(table) == ["encoder", "output", "clip", "frames", "rate", "first", "shard", "sha256", "bytes"]
    assert len(table) == 6
    for row in table.itertuples():
        assert row.shard in map(str, stored)
        assert row.sha256 == sha256(Path(row.shard))
        assert row.bytes == Path(row.shard).stat().st_size


def test_the_same_features_give_the_same_bytes(stored: list[Path], tmp_path: Path) -> None:
    rows = [("a_1", output, tensor("a_1", output), rate) for output, rate in RATES.items()]
    write_shard(tmp_path / "x.safetensors", "net", rows)
    write_shard(tmp_path / "y.safetensors", "net", rows[::-1])
    assert sha256(tmp_path / "x.safetensors") == sha256(tmp_path / "y.safetensors")
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert list(file.metadata()) == ["features"]
        assert json.loads(file.metadata()["features"])["encoder"] == "net"
    first = stored[-1].read_bytes()
    index(Settings(), store="mel", shards=stored[:-1], out=stored[-1])
    assert stored[-1].read_bytes() == first


def test_several_indexes_are_one_store(stored: list[Path], tmp_path: Path) -> None:
    write_shard(tmp_path / "other.safetensors", "other", [("a_1", "layer", torch.zeros(1, 2), 1.0)])
    index(Settings(), store="mel", shards=[tmp_path / "other.safetensors"], out=tmp_path / "other.parquet")
    store = FeatureStore([stored[-1], tmp_path / "other.parquet"])
    assert len(store.feature("net", "layer")) == 3
    assert len(store.feature("other", "layer")) == 1
    with pytest.raises(ArtifactError, match=r"clip 'a_1' is in more than one shard: give each index once"):
        FeatureStore([stored[-1], stored[-1]]).feature("net", "layer")


def test_what_is_not_there_is_named_with_what_is(stored: list[Path], tmp_path: Path) -> None:
    store = FeatureStore([stored[-1]])
    with pytest.raises(ArtifactError, match=r"no feature net/logits in .*index.parquet, only net/layer, net/layer.mean: keep it"):
        store.feature("net", "logits")
    with pytest.raises(ArtifactError, match=r"no feature a/b in no index, only nothing"):
        FeatureStore([]).feature("a", "b")
    with pytest.raises(ArtifactError, match=r"absent.parquet is missing: run the stage"):
        FeatureStore([tmp_path / "absent.parquet"])
    write_table(tmp_path / "table.parquet", pd.DataFrame({"clip": ["a_1"]}))
    with pytest.raises(ArtifactError, match=r"table.parquet is no index of features, it has no column encoder, output, frames"):
        FeatureStore([tmp_path / "table.parquet"])


def test_an_index_of_empty_shards_has_nothing(stored: list[Path], tmp_path: Path) -> None:
    index(Settings(), store="mel", shards=[stored[2]], out=tmp_path / "empty.parquet")
    with pytest.raises(ArtifactError, match=r"only nothing"):
        FeatureStore([tmp_path / "empty.parquet"]).feature("net", "layer")
    assert len(FeatureStore([tmp_path / "empty.parquet", stored[-1]]).feature("net", "layer")) == 3


def test_a_shard_that_is_gone_or_another_is_found_when_it_is_opened(stored: list[Path]) -> None:
    whole = stored[1].read_bytes()
    stored[1].write_bytes(whole[:-8])
    with pytest.raises(
        ArtifactError, match=rf"1.safetensors has {len(whole) - 8} bytes and its index says {len(whole)}: run the"
    ):
        FeatureStore([stored[-1]]).feature("net", "layer")
    with pytest.raises(ArtifactError, match=r"1.safetensors is not a readable safetensors file .*delete it and run its stage"):
        index(Settings(), store="mel", shards=stored[:-1], out=stored[-1])
    stored[1].unlink()
    with pytest.raises(ArtifactError, match=r"1.safetensors is missing: run the stage"):
        FeatureStore([stored[-1]]).feature("net", "layer.mean")
    with pytest.raises(ArtifactError, match=r"1.safetensors is missing"):
        index(Settings(), store="mel", shards=stored[:-1], out=stored[-1])


def test_one_shard_without_an_index(stored: list[Path], tmp_path: Path) -> None:
    feature = Feature.of_shard(stored[0], "layer")
    assert list(feature.frames) == ["a_1", "c_3"]
    assert torch.equal(feature["c_3"], tensor("c_3", "layer"))
    assert len(Feature.of_shard(stored[2], "layer")) == 0
    with pytest.raises(ArtifactError, match=r"0.safetensors has no output 'logits' of net: it has layer, layer.mean"):
        Feature.of_shard(stored[0], "logits")
    save_file({"x": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(ArtifactError, match=r"plain.safetensors is no shard of features"):
        Feature.of_shard(tmp_path / "plain.safetensors", "layer")
