"""An experiment without general audio: nothing asks for its codebooks, teachers or scores, and tables say that it was not run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from agrepa.artifacts.features import Stored, index, write_shard
from agrepa.artifacts.files import load_tensors, read_json, read_table, write_table
from agrepa.corpora import manifest as manifests
from agrepa.evaluation import frechet
from agrepa.job import State
from agrepa.params.stages import ArmSettings, FadSettings, FogASettings, LaspSettings, SelectSettings, Settings, WarmupSettings
from agrepa.pipeline.workflow import Workflow
from agrepa.probes import fog_a, lasp
from agrepa.reporting import figures_scd, table_layers, table_scd, table_scores
from agrepa.reporting.collected import read_probe
from agrepa.reporting.metrics import distances, metrics
from agrepa.selection import run as select
from agrepa.tokens import sequence
from agrepa.training import arm, warmup


def alone(experiment):
    """The experiment on speech alone."""
    data = experiment.model_dump(mode="json")
    for split in ("train", "validation", "test"):
        data["corpora"][split]["audio"] = 0
    data["evaluation"] |= {"audio_clips": 0, "speech_clips": 6}
    data["evaluation"]["frechet"]["bootstrap"] = 2
    data["probes"]["lasp"]["clips"] = data["probes"]["fog_a"]["clips"] = 3
    data["tokens"]["second_speech"]["vocabulary"] = 4
    return type(experiment).model_validate(data)


@pytest.fixture
def spoken(small):
    return alone(small)


@pytest.fixture
def speech_features(features):
    """Those of the speech alone, and of its teacher alone."""
    manifest = features["sources"]["manifest"]
    table = read_table(manifest)
    write_table(manifest, table[table.domain == "speech"].reset_index(drop=True))
    return features | {"targets": features["targets"][:1], "features": features["features"][:1]}


def test_only_speech_has_streams_teachers_and_ids(demo):
    p = alone(demo)
    assert (demo.domains, p.domains) == (("speech", "audio"), ("speech",))
    flow = Workflow(p, "params/demo.yaml")
    assert flow.streams == ["speech", "second_speech"]
    assert (flow.stream_encoders, flow.teacher_encoders) == (["whisper"], ["whisper"])
    assert flow.encoders == ["whisper", "yamnet", "aisfx"], "those of the distances stay"
    assert sequence.vocabularies(p.tokens, p.domains) == [2048, 4]
    assert sequence.ids(np.array([0, 5]), "second_speech", p.tokens, p.domains).tolist() == [0, 5]


def test_warm_up_probes_selection_and_an_arm(spoken, speech_features, settings_of, tmp_path):
    sources, targets = speech_features["sources"], speech_features["targets"]
    outs = {name: tmp_path / f"{name}.parquet" for name in ("log", "validation")}
    start = tmp_path / "warmup.safetensors"
    drawn = spoken.model_copy(update={"model": spoken.model.model_copy(update={"tables": "random"})})
    warmup.run(
        settings_of(WarmupSettings, drawn),
        kind="dit",
        seed="0",
        **sources,
        codebooks=[],
        targets=targets,
        state=State(tmp_path / "state", "test"),
        checkpoint=start,
        snapshots=tmp_path / "snapshots",
        **outs,
    )
    assert not [name for name in load_tensors(start) if "audio" in name]
    probes = tmp_path / "probes" / "seed0"
    probes.mkdir(parents=True)
    fog_a.run(settings_of(FogASettings, drawn), kind="dit", seed="0", warmup=start, **sources, out=probes / "fog_a.json")
    lasp.run(
        settings_of(LaspSettings, drawn),
        kind="dit",
        seed="0",
        warmup=start,
        **sources,
        targets=targets,
        out=probes / "lasp.json",
    )
    found = {name: read_probe(probes.parent, name) for name in ("fog_a", "lasp")}
    assert [list(domains) for domains in found.values()] == [["speech"], ["speech"]]
    select(
        settings_of(SelectSettings, drawn, arm="ag_repa"),
        arm="ag_repa",
        seed="0",
        probe=[probes / "fog_a.json"],
        out=tmp_path / "s.json",
    )
    assert list(read_json(tmp_path / "s.json")["domains"]) == ["speech"]
    arm.run(
        settings_of(ArmSettings, drawn, arm="ag_repa"),
        arm="ag_repa",
        seed="0",
        warmup=[start],
        codebooks=[],
        selection=tmp_path / "s.json",
        **sources,
        targets=targets,
        features=[],
        state=State(tmp_path / "state-arm", "test"),
        checkpoint=tmp_path / "arm.safetensors",
        **outs,
    )
    assert set(read_table(outs["validation"]).domain) == {"speech"}
    figures_scd.heat_maps(found["fog_a"], found["lasp"], "note", tmp_path / "heat.png")
    figures_scd.store_against_contribute(found["fog_a"], found["lasp"], "note", tmp_path / "points.png")
    figures_scd.importance(found["fog_a"], {"speech": [1]}, "note", tmp_path / "bars.png")


def test_a_distance_is_taken_of_speech_alone(spoken, settings_of, tmp_path):
    rng, rows = np.random.default_rng(0), []
    for i in range(26):
        split = "train" if i < 20 else "test"
        rows.append(
            dict.fromkeys(manifests.COLUMNS, "")
            | {"id": f"clip_{i}", "domain": "speech", "split": split, "family": f"f{i}", "listing": "main" if i >= 20 else ""}
            | {"sha256": f"{i}", "start": 0.0, "seconds": 1.0, "sample_rate": 16000}
        )
    write_table(tmp_path / "manifest.parquet", pd.DataFrame(rows))

    entries = [(row["id"], "embedding", torch.from_numpy(rng.standard_normal((5, 4))).float(), 1.0) for row in rows]
    write_shard(tmp_path / "made.safetensors", "yamnet", [Stored(*entry) for entry in entries])
    index(Settings(), store="yamnet", shards=[tmp_path / "made.safetensors"], out=tmp_path / "real.parquet")
    frechet.run(
        settings_of(FadSettings, spoken),
        embedding="yamnet",
        manifest=tmp_path / "manifest.parquet",
        reference=tmp_path / "real.parquet",
        evaluated=tmp_path / "made.safetensors",
        out=tmp_path / "fad.json",
        utterances=tmp_path / "fad.parquet",
    )
    assert sorted(json.loads((tmp_path / "fad.json").read_text())) == ["speech_fad_yamnet", "speech_kad_yamnet"]


def test_tables_say_that_general_audio_was_not_run(demo):
    measured, fads = (of(["yamnet"], demo.encoders) for of in (metrics, distances))
    names = ["speech_wer", "speech_fad_yamnet"]
    numbers = {"value": 5.0, "low": 4.0, "high": 6.0, "n": 4.0, "unit": "clip", "seeds": 1.0, "card": ""}
    numbers |= {"difference": np.nan, "difference_low": np.nan, "difference_high": np.nan, "difference_p": np.nan}
    scores = pd.DataFrame([{"row": "base", "metric": name} | numbers for name in names])
    paper = SimpleNamespace(value=lambda *_: 1.0, text=lambda *_: "")
    frame = table_scores.compute(demo.rows, scores, measured, {}, paper).astype(dict.fromkeys(["seeds"], float))
    frame = frame.where(frame.notna(), np.nan)
    grids = {grid.title: grid for grid in table_scores.layout(frame, pd.DataFrame(), measured)}
    assert "Speech of unseen speakers: words and units" not in grids, "no row has a score of that list"
    assert grids["General audio"].rows[0][1:3] == ("not run", "-")
    assert grids["Aligned layers and seeds"].rows[0][1:] == ("-", "not run", "1")
    assert grids["Speech: quality and distance"].rows[0][4] == "5.00 [4.00, 6.00]"
    third = table_layers.compute(demo.rows, scores, fads, {}, paper)
    third = third.where(third.notna(), np.nan)
    first, _, audio = table_layers.layout(third, fads)
    assert first.rows[0][3:5] == ("not run", "not run")
    assert audio.rows[0][1] == "not run"
    table1 = pd.DataFrame(columns=["measure"])
    correlations = pd.DataFrame(columns=["domain", "first", "second"])
    assert table_scd.layout(table1, correlations)[0].rows[1][:3] == ("Cos-EVT", "not run", "-")
