"""What is kept of an evaluation: the table of scores, transcripts, probes, selections, curves and listening clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from test_tables import settings

from agrepa.artifacts.files import read_json, write_json, write_table
from agrepa.audio import files
from agrepa.corpora.manifest import COLUMNS
from agrepa.errors import ArtifactError
from agrepa.evaluation import collect, embeddings, listening_clips, scores
from agrepa.evaluation.rows import ANCHORS
from agrepa.evaluation.statistics import cluster_bootstrap, margin, paired_difference
from agrepa.params import Experiment

CLIPS = ["queen_a", "queen_b", "queen_c", "queen_d"]
FAMILIES = ["jim", "jim", "ann", "bob"]
WORDS = [4, 5, 6, 7]
ERRORS = {"ground_truth": 0, "copy_synthesis": 1, "base": 3, "repa_l8": 2, "control": 4}


@pytest.fixture
def small(demo: Experiment) -> Experiment:
    """Two arms, two seeds."""
    evaluation = demo.evaluation.model_copy(update={"bootstrap": 50})
    return demo.model_copy(update={"arms": ["base", "repa_l8"], "seeds": [0, 1], "evaluation": evaluation})


def utterances(row: str, seed: int) -> pd.DataFrame:
    """An arm of seed 1 makes one error more in its first clip; an anchor also has a clip that the arms lack."""
    extra = row in ANCHORS
    clips, words = CLIPS + ["queen_e"] * extra, WORDS + [8] * extra
    errors = [ERRORS[row] + (seed == 1 and i == 0) for i in range(len(clips))]
    table = pd.DataFrame({"clip": clips, "family": FAMILIES + ["bob"] * extra, "domain": "speech", "speaker": "someone"})
    heard = {"reference": "it is said", "hypothesis": f"{row} {seed}", "char_errors": errors, "chars": [5 * w for w in words]}
    return table.assign(**heard, word_errors=errors, words=words)


def write_metrics(folder: Path, without: str = "") -> list[Path]:
    paths = []
    for row, count in ERRORS.items():
        for seed in [0] if row in ANCHORS else [0, 1]:
            place = folder / "metrics" / row / f"seed{seed}"
            table = utterances(row, seed)
            write_table(place / "wer.parquet", table)
            write_json(place / "wer.json", {"speech_wer": {"value": 0.0}, "speech_cer": {"value": 0.0}})
            deviations = [count * d + seed for d in (-0.3, 0.1, 0.2)]
            same = "other" if row in ANCHORS else "same"
            write_json(
                place / "fad_yamnet.json",
                {"speech_fad_yamnet": {"value": count + seed, "n": 4, "clips": same, "deviations": deviations}},
            )
            write_table(place / "fad_yamnet.parquet", table[["clip", "family", "domain"]].assign(frames=3))
            paths += [place / "fad_yamnet.json", place / "wer.json"]
    return [path for path in paths if without not in str(path) or not without]


def table_of(p: Experiment, folder: Path, paths: list[Path]) -> pd.DataFrame:
    scores.run(
        settings(p, "scores"),
        metrics=paths,
        utterances=[path.with_suffix(".parquet") for path in paths],
        out=folder / "scores.csv",
        values=folder / "metrics.json",
        transcripts=folder / "transcripts.csv",
    )
    return pd.read_csv(folder / "scores.csv").set_index(["row", "metric"])


def test_the_table_has_the_columns_and_order_of_the_contract(tmp_path: Path, small: Experiment) -> None:
    table_of(small, tmp_path, write_metrics(tmp_path)[::-1])
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[0] == "row,metric,value,low,high,n,seeds,difference,difference_low,difference_high,card"
    order = [tuple(line.split(",")[:2]) for line in lines[1:]]
    rows = ["ground_truth", "copy_synthesis", "base", "repa_l8", "control"]
    assert order == [(row, metric) for row in rows for metric in ("speech_cer", "speech_fad_yamnet", "speech_wer")]


def test_ratios_pool_the_utterances_of_all_seeds(tmp_path: Path, small: Experiment) -> None:
    table = table_of(small, tmp_path, write_metrics(tmp_path))
    mine = pd.concat([utterances("repa_l8", seed) for seed in (0, 1)])
    base = pd.concat([utterances("base", seed) for seed in (0, 1)])
    expected = cluster_bootstrap(mine.word_errors, mine.words, list(mine.family), 50, small.seed).scaled(100)
    found = table.loc["repa_l8", "speech_wer"]
    assert found.value == pytest.approx(100 * (2 * 8 + 1) / 44, rel=1e-5)
    assert (found.low, found.high) == (pytest.approx(expected.low, rel=1e-5), pytest.approx(expected.high, rel=1e-5))
    assert (found.n, found.seeds) == (4, 2)
    both = (mine.word_errors, mine.words, base.word_errors, base.words, list(mine.family))
    difference = paired_difference(*both, 50, small.seed).scaled(100)
    assert found.difference == pytest.approx(-100 * 8 / 44, rel=1e-5)
    assert (found.difference_low, found.difference_high) == pytest.approx((difference.low, difference.high), rel=1e-5)
    cards = [f"{tmp_path.as_posix()}/metrics/repa_l8/seed{seed}/wer.json.card.json" for seed in (0, 1)]
    assert found.card == " ".join(cards)


def test_only_rows_with_the_clips_of_base_are_compared_with_it(tmp_path: Path, small: Experiment) -> None:
    table = table_of(small, tmp_path, write_metrics(tmp_path))
    assert table.difference.isna().groupby("row").all().to_dict() == {
        "ground_truth": True,
        "copy_synthesis": True,
        "base": True,
        "repa_l8": False,
        "control": False,
    }
    assert table.loc["ground_truth", "speech_wer"].n == 5


def test_distances_are_averaged_over_seeds_and_halves_subtracted(tmp_path: Path, small: Experiment) -> None:
    table = table_of(small, tmp_path, write_metrics(tmp_path))
    found = table.loc["control", "speech_fad_yamnet"]
    deviations = np.array([-0.3, 0.1, 0.2])
    assert (found.value, found.n, found.seeds) == (4.5, 4, 2)
    assert found.high - found.value == pytest.approx(margin(4 * deviations + 0.5), rel=1e-5)
    assert found.difference == 1
    assert found.difference_high - found.difference == pytest.approx(margin(deviations), rel=1e-5)


def test_a_distance_without_halves_has_no_interval(tmp_path: Path, small: Experiment) -> None:
    paths = write_metrics(tmp_path)
    path = tmp_path / "metrics" / "repa_l8" / "seed1" / "fad_yamnet.json"
    entry = read_json(path)["speech_fad_yamnet"]
    del entry["deviations"]
    write_json(path, {"speech_fad_yamnet": entry})
    found = table_of(small, tmp_path, paths).loc["repa_l8", "speech_fad_yamnet"]
    assert found[["value", "difference"]].tolist() == [2.5, -1]
    assert found[["low", "high", "difference_low", "difference_high"]].isna().all()


def test_transcripts_keep_what_was_heard(tmp_path: Path, small: Experiment) -> None:
    table_of(small, tmp_path, write_metrics(tmp_path))
    heard = pd.read_csv(tmp_path / "transcripts.csv")
    assert list(heard.columns) == ["row", "seed", "clip", "speaker", "reference", "hypothesis"]
    assert len(heard) == 2 * 5 + 3 * 2 * 4
    assert heard.iloc[-1].tolist() == ["control", 1, "queen_d", "someone", "it is said", "control 1"]


def test_numbers_have_six_digits() -> None:
    assert [scores.rounded(x) for x in (12.3456789, 110, 1e-9, None)] == ["12.3457", "110", "1e-09", ""]


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("repa_l8/seed1/wer", r"repa_l8 has speech_\w+ of seeds \[0\] instead of \[0, 1\]"),
        ("control/", r"control has speech_\w+ of seeds \[\] instead of"),
        ("ground_truth/seed0/fad", "ground_truth has speech_fad_yamnet of 0 seeds instead of one"),
    ],
)
def test_a_missing_metric_is_an_error(tmp_path: Path, small: Experiment, without: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        table_of(small, tmp_path, write_metrics(tmp_path, without))


def test_a_foreign_row_or_place_is_an_error(tmp_path: Path, small: Experiment) -> None:
    lone = small.model_copy(update={"arms": ["base"]})
    with pytest.raises(ArtifactError, match="row 'repa_l8' is not in this experiment"):
        table_of(lone, tmp_path, write_metrics(tmp_path))
    with pytest.raises(ArtifactError, match="this path does not say whose it is"):
        scores.arrange([Path("elsewhere/wer.json")], [Path("elsewhere/wer.parquet")])


def test_every_metric_comes_with_its_utterances_wherever_they_lie(tmp_path: Path, small: Experiment) -> None:
    paths = write_metrics(tmp_path)
    table = table_of(small, tmp_path, paths)
    moved = [tmp_path / f"{number}.parquet" for number, _ in enumerate(paths)]
    for path, place in zip(paths, moved, strict=True):
        path.with_suffix(".parquet").rename(place)
    places = {"out": tmp_path / "again.csv", "values": tmp_path / "v.json", "transcripts": tmp_path / "t.csv"}
    scores.run(settings(small, "scores"), metrics=paths, utterances=moved, **places)
    assert pd.read_csv(tmp_path / "again.csv").set_index(["row", "metric"]).equals(table)
    with pytest.raises(ArtifactError, match="name one table for each metric"):
        scores.run(settings(small, "scores"), metrics=paths, utterances=moved[:-1], **places)


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
        write_json(folder / f"{arm}.json", {"arm": arm, "depth": 12})
    write_json(folder / "probe.json", {"probe": "fog_a", "domains": {}})
    trend = {"step": [2, 0], "domain": "speech", "layer": 1, "score": [0.25, 0.5], "rank_correlation": [0.75, float("nan")]}
    write_table(folder / "trend.parquet", pd.DataFrame(trend))
    out = folder / "out"
    out.mkdir()
    collect.run(
        settings(p, "collect"),
        probes=[folder / "probe.json"],
        selections=[folder / "repa_l8.json", folder / "base.json"],
        logs=[folder / f"{row}{seed}.parquet" for row, seed in logs],
        trend=folder / "trend.parquet",
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
    assert trend == "step,domain,layer,score,rank_correlation\n0,speech,1,0.5,\n2,speech,1,0.25,0.75\n"
    assert read_json(out / "selections" / "base.json") == {"arm": "base", "depth": 12}
    assert [path.name for path in (out / "probes").iterdir()] == ["fog_a.json"]
    # One column a run, mean over its seeds.
    assert (out / "validation.csv").read_text() == "step,warmup,base,repa_l8\n10,1,1.5,1.5\n"


def test_metrics_for_dvc_hold_the_values_of_the_table(tmp_path: Path, small: Experiment) -> None:
    table = table_of(small, tmp_path, write_metrics(tmp_path))
    values = read_json(tmp_path / "metrics.json")
    assert {(row, metric): value for row, metrics in values.items() for metric, value in metrics.items()} == table.value.to_dict()


def test_collect_misses_what_was_not_trained_or_selected(tmp_path: Path, small: Experiment) -> None:
    with pytest.raises(ArtifactError, match="no training log was given for arm 'repa_l8' with seed 1"):
        gathered(small, tmp_path, [("warmup", 0), ("base", 0), ("base", 1), ("repa_l8", 0)])
    with pytest.raises(ArtifactError, match="no selection was given for arm 'ag_repa'"):
        gathered(small.model_copy(update={"arms": ["base", "repa_l8", "ag_repa"]}), tmp_path / "more", [("warmup", 0)])


def test_collect_refuses_two_files_of_one_name_and_tables_of_another_kind(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"arm": "base"})
    with pytest.raises(ArtifactError, match="second file of arm 'base'"):
        collect.gather([tmp_path / "a.json", tmp_path / "a.json"], "arm", tmp_path / "out")
    with pytest.raises(ArtifactError, match="has no 'probe'"):
        collect.gather([tmp_path / "a.json"], "probe", tmp_path / "out")
    write_table(tmp_path / "t.parquet", pd.DataFrame({"step": [1]}))
    with pytest.raises(ArtifactError, match="lacks the columns domain, layer, score"):
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
