"""What is kept of an evaluation beside the scores: probes, selections, curves and listening clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_results import settings
from safetensors.numpy import load_file

from agrepa.artifacts.files import read_json, write_json, write_table
from agrepa.audio import files
from agrepa.corpora.manifest import COLUMNS
from agrepa.errors import ArtifactError
from agrepa.evaluation import collect, embeddings, listening_clips
from agrepa.params import Experiment


@pytest.fixture
def small(demo: Experiment) -> Experiment:
    """Two arms, two seeds."""
    return demo.model_copy(update={"arms": ["base", "repa_l8"], "seeds": [0, 1]})


def log(row: str, seed: int) -> pd.DataFrame:
    rows = [
        (row, seed, step, series, value) for step, value in ((10, 1 / 3), (2, 2.0)) for series in ("train_flow", "learning_rate")
    ]
    rows.append((row, seed, 10, "validation_flow", 1.0 + seed))
    return pd.DataFrame(rows, columns=["row", "seed", "step", "series", "value"])


def gathered(p: Experiment, folder: Path, logs: list[tuple[str, int]]) -> Path:
    for row, seed in logs:
        write_table(folder / f"{row}{seed}.parquet", log(row, seed))
    for arm in ("base", "repa_l8"):
        for seed in (0, 1):
            write_json(folder / f"{arm}{seed}.json", {"arm": arm, "seed": seed, "depth": 12})
    for seed in (0, 1):
        write_json(folder / f"probe{seed}.json", {"probe": "fog_a", "seed": seed, "domains": {}})
    trend = {
        "seed": 1,
        "step": [2, 0],
        "domain": "speech",
        "layer": 1,
        "score": [0.25, 0.5],
        "rank_correlation": [0.75, float("nan")],
    }
    write_table(folder / "trend.parquet", pd.DataFrame(trend))
    write_table(folder / "earlier.parquet", pd.DataFrame(trend | {"seed": 0}).iloc[:1])
    out = folder / "out"
    out.mkdir()
    collect.run(
        settings(p, "collect"),
        probes=[folder / "probe1.json", folder / "probe0.json"],
        selections=[folder / f"{arm}{seed}.json" for seed in (1, 0) for arm in ("repa_l8", "base")],
        logs=[folder / f"{row}{seed}.parquet" for row, seed in logs],
        trend=[folder / "trend.parquet", folder / "earlier.parquet"],
        curves=out / "curves.csv",
        trend_csv=out / "fog_a_trend.csv",
        probes_folder=out / "probes",
        selections_folder=out / "selections",
        validation=out / "validation.csv",
    )
    return out


def test_collect_writes_curves_in_the_order_of_the_experiment(tmp_path: Path, small: Experiment) -> None:
    runs = [("repa_l8", 1), ("repa_l8", 0), ("base", 0), ("base", 1), ("warmup", 0)]
    out = gathered(small, tmp_path, runs)
    curves = (out / "curves.csv").read_text().splitlines()
    assert curves[:5] == [
        "row,seed,step,series,value",
        "warmup,0,2,learning_rate,2",
        "warmup,0,2,train_flow,2",
        "warmup,0,10,learning_rate,0.333333",
        "warmup,0,10,train_flow,0.333333",
    ]
    assert [line.split(",")[:2] for line in curves[6::5]] == [["base", "0"], ["base", "1"], ["repa_l8", "0"], ["repa_l8", "1"]]
    trend = (out / "fog_a_trend.csv").read_text()
    assert trend.split() == [
        "seed,step,domain,layer,score,rank_correlation",
        "0,2,speech,1,0.25,0.75",
        "1,0,speech,1,0.5,",
        "1,2,speech,1,0.25,0.75",
    ]
    assert read_json(out / "selections/seed1/base.json") == {"arm": "base", "seed": 1, "depth": 12}
    assert sorted(str(path.relative_to(out)) for path in (out / "probes").rglob("*.json")) == [
        "probes/seed0/fog_a.json",
        "probes/seed1/fog_a.json",
    ]
    # One column a run, mean over its seeds.
    assert (out / "validation.csv").read_text() == "step,warmup,base,repa_l8\n10,1,1.5,1.5\n"


def test_collect_misses_what_was_not_trained_or_selected(tmp_path: Path, small: Experiment) -> None:
    with pytest.raises(ArtifactError, match="no training log was given for arm 'repa_l8' with seed 1"):
        gathered(small, tmp_path, [("warmup", 0), ("base", 0), ("base", 1), ("repa_l8", 0)])
    with pytest.raises(ArtifactError, match="no selection was given for arm 'ag_repa' with seed 0"):
        gathered(small.model_copy(update={"arms": ["base", "repa_l8", "ag_repa"]}), tmp_path / "more", [("warmup", 0)])


def test_collect_refuses_two_files_of_one_name_and_tables_of_another_kind(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"arm": "base", "seed": 0})
    with pytest.raises(ArtifactError, match="second file of arm 'base', seed 0"):
        collect.gather([tmp_path / "a.json", tmp_path / "a.json"], "arm", tmp_path / "out")
    with pytest.raises(ArtifactError, match="has no 'probe'"):
        collect.gather([tmp_path / "a.json"], "probe", tmp_path / "out")
    write_table(tmp_path / "t.parquet", pd.DataFrame({"step": [1]}))
    with pytest.raises(ArtifactError, match="lacks the columns seed, domain, layer, score"):
        collect.columns(tmp_path / "t.parquet", collect.TREND)


@pytest.fixture
def audio(tmp_path: Path, demo: Experiment) -> list[Path]:
    """Two speech clips and one sound in three rows; only the first speech clip and the sound are in all of them."""
    rows = [("queen_a", "speech", "hello"), ("queen_b", "speech", "there"), ("scratch_dog", "audio", "")]
    table = pd.DataFrame([{"id": i, "corpus": i.split("_")[0], "domain": d, "split": "test", "text": t} for i, d, t in rows])
    table = table.assign(family="f", label="l", seconds=0.5).reindex(columns=list(COLUMNS))
    write_table(tmp_path / "manifest.parquet", table.fillna({"speaker": ""}))
    folders = [tmp_path / "audio" / row / "seed0" for row in ("ground_truth", "copy_synthesis", "base")]
    for loudness, folder in zip((0.5, 0.2, 0.1), folders, strict=True):
        for pitch, (clip, _, _) in enumerate(rows, 1):
            if (folder.parent.name, clip) != ("base", "queen_b"):
                wave = loudness * np.sin(np.arange(8000) * 0.1 * pitch).astype(np.float32)
                files.write_flac(folder / f"{clip}.flac", wave, demo.corpora.sample_rate)
    return folders


def test_listening_keeps_pictures_of_all_rows_and_sound_of_models_only(
    tmp_path: Path, audio: list[Path], demo: Experiment
) -> None:
    out = tmp_path / "listening"
    listening_clips.run(
        settings(demo, "listening"),
        manifest=tmp_path / "manifest.parquet",
        audio=[*audio, tmp_path / "audio" / "base" / "seed1"],
        out=out,
    )
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.flac")) == [
        "audio/base/queen_a.flac",
        "audio/base/scratch_dog.flac",
    ]
    clips = (out / "clips.csv").read_text().splitlines()
    assert clips == ["clip,domain,family,text,label,seconds", "queen_a,speech,f,hello,l,0.5", "scratch_dog,audio,f,,l,0.5"]
    mels = load_file(out / "mels.safetensors")
    assert sorted(mels) == sorted(f"{folder.parent.name}/{clip}" for folder in audio for clip in ("queen_a", "scratch_dog"))
    assert {mel.dtype for mel in mels.values()} == {np.dtype("uint8")}
    assert {mel.shape for mel in mels.values()} == {(8000 // demo.mel.hop, demo.mel.bands)}
    levels = read_json(out / "mels.json")
    assert max(mel.max() for mel in mels.values()) == 255
    # One scale for all: the pure tone that is five times louder is ln 5 higher.
    step = (levels["max"] - levels["min"]) / 255
    loud, soft = (int(mels[f"{row}/queen_a"].max()) for row in ("ground_truth", "base"))
    assert (loud - soft) * step == pytest.approx(np.log(5), abs=2 * step)


def test_listening_needs_a_clip_that_every_row_has(tmp_path: Path, audio: list[Path], demo: Experiment) -> None:
    (audio[2] / "scratch_dog.flac").unlink()
    with pytest.raises(ArtifactError, match="no audio test clip is in every one of"):
        p = settings(demo, "listening")
        listening_clips.run(p, manifest=tmp_path / "manifest.parquet", audio=audio, out=tmp_path / "out")


def test_embeddings_refuse_clips_that_are_not_of_the_test_split(tmp_path: Path, audio: list[Path], demo: Experiment) -> None:
    (audio[0] / "queen_z.flac").touch()
    p = settings(demo, "embed", embedding="yamnet")
    places = {"manifest": tmp_path / "manifest.parquet", "archives": [], "out": tmp_path / "out.safetensors"}
    with pytest.raises(ArtifactError, match=r"queen_z\.flac is no test clip"):
        embeddings.run(p, embedding="yamnet", audio=audio[0], **places)
    with pytest.raises(ArtifactError, match="holds no audio"):
        embeddings.run(p, embedding="yamnet", audio=tmp_path, **places)
