"""The table of scores: ratios and distances of every row, seeds as replications, paired differences to Base, transcripts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_results import settings
from scipy import stats

from agrepa.artifacts.files import read_json, write_json, write_table
from agrepa.errors import ArtifactError
from agrepa.evaluation import scores
from agrepa.evaluation.rows import ANCHORS
from agrepa.evaluation.statistics import ratio
from agrepa.params import Experiment

CLIPS = ["queen_a", "queen_b", "queen_c", "queen_d"]
FAMILIES = ["jim", "jim", "ann", "ann"]
WORDS = [4, 5, 6, 7]
ERRORS = {"ground_truth": 0, "copy_synthesis": 1, "base": 3, "repa_l8": 2, "control": 4}
FIRST = {"ground_truth": 0, "copy_synthesis": 0, "base": 1, "repa_l8": 3, "control": 0}  # more errors in the first clip
DEVIATIONS = np.array([-0.3, 0.1, 0.2])
METRICS = ("speech_cer", "speech_fad_yamnet", "speech_wer", "speech_wer_unseen", "speech_wer_utterance")


@pytest.fixture
def small(demo: Experiment) -> Experiment:
    """Two arms, two seeds."""
    return demo.model_copy(update={"arms": ["base", "repa_l8"], "seeds": [0, 1]})


def utterances(row: str, seed: int) -> pd.DataFrame:
    """Four clips of the main list and two unseen ones; an arm of seed 1 makes one error more in its first clip."""
    errors = np.full(6, ERRORS[row])
    errors[0] += FIRST[row] + seed
    words = np.array([*WORDS, 3, 5])
    table = pd.DataFrame({"clip": [*CLIPS, "queen_y", "queen_z"], "family": [*FAMILIES, "bud", "bud"], "domain": "speech"})
    table["listing"] = ["main"] * 4 + ["unseen"] * 2
    heard = {"reference": "it is said", "hypothesis": f"{row} {seed}", "char_errors": errors, "chars": 5 * words}
    return table.assign(speaker="someone", **heard, word_errors=errors, words=words)


def write_metrics(folder: Path, without: str = "") -> list[Path]:
    paths = []
    for row, count in ERRORS.items():
        for seed in [0] if row in ANCHORS else [0, 1]:
            place = folder / "metrics" / row / f"seed{seed}"
            table = utterances(row, seed)
            write_table(place / "wer.parquet", table)
            write_json(place / "wer.json", {name: {"value": 0.0} for name in METRICS if "fad" not in name})
            entry = {"value": count + seed, "n": 4, "clusters": 4, "unit": "clip", "freedom": 2.0, "clips": "same"}
            entry["deviations"] = (count * DEVIATIONS).tolist()
            write_json(place / "fad_yamnet.json", {"speech_fad_yamnet": entry})
            write_table(place / "fad_yamnet.parquet", table[["clip", "family", "domain"]].assign(frames=3))
            paths += [place / "fad_yamnet.json", place / "wer.json"]
    return [path for path in paths if without not in str(path) or not without]


def write_losses(folder: Path) -> list[Path]:
    """Losses of validation clips, of which the unseen ones are not for the table; REPA's are 0.1, 0.2 and 0.3 lower."""
    paths = []
    for arm in ("base", "repa_l8"):
        for seed in (0, 1):
            table = pd.DataFrame({"clip": list("abcd"), "domain": "speech", "family": list("fffg")})
            loss = np.array([1.0, 1.2, 1.4, 9.0]) - (np.array([0.1, 0.2, 0.3, 5.0]) if arm == "repa_l8" else 0)
            paths.append(folder / "arms" / arm / f"seed{seed}" / "validation.parquet")
            write_table(paths[-1], table.assign(listing=["main"] * 3 + ["unseen"], loss=loss))
    return paths


def table_of(p: Experiment, folder: Path, paths: list[Path], losses: list[Path] | None = None) -> pd.DataFrame:
    scores.run(
        settings(p, "scores"),
        metrics=paths,
        utterances=[path.with_suffix(".parquet") for path in paths],
        losses=losses or [],
        out=folder / "scores.csv",
        pairs=folder / "pairs.csv",
        values=folder / "metrics.json",
        transcripts=folder / "transcripts.csv",
    )
    return pd.read_csv(folder / "scores.csv").set_index(["row", "metric"])


def test_the_table_has_the_columns_and_order_of_the_contract(tmp_path: Path, small: Experiment) -> None:
    table_of(small, tmp_path, write_metrics(tmp_path)[::-1])
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[0] == ("row,metric,value,low,high,n,unit,seeds,difference,difference_low,difference_high,difference_p,card")
    order = [tuple(line.split(",")[:2]) for line in lines[1:]]
    rows = ["ground_truth", "copy_synthesis", "base", "repa_l8", "control"]
    assert order == [(row, metric) for row in rows for metric in METRICS]


def test_ratios_are_means_over_seeds_with_the_interval_of_clips_and_trainings(tmp_path: Path, small: Experiment) -> None:
    table = table_of(small, tmp_path, write_metrics(tmp_path))
    mine, base = (np.stack([utterances(row, seed).word_errors[:4] for seed in (0, 1)]) for row in ("repa_l8", "base"))
    words = np.tile(WORDS, (2, 1))
    found, estimate = table.loc["repa_l8", "speech_wer"], ratio(mine, words, FAMILIES).scaled(100)
    expected = estimate.interval(positive=True)
    assert found.value == pytest.approx(100 * (11 + 12) / 44, rel=1e-5)
    assert (found.low, found.high) == (pytest.approx(expected.low, rel=1e-5), pytest.approx(expected.high, rel=1e-5))
    assert (found.n, found.unit, found.seeds) == (4, "clip", 2)
    gap = (estimate - ratio(base, words, FAMILIES).scaled(100)).interval()
    numbers = [found.difference, found.difference_low, found.difference_high, found.difference_p]
    assert numbers == pytest.approx([-100 * 2 / 22, gap.low, gap.high, gap.p], rel=1e-5)
    cards = [f"{tmp_path.as_posix()}/metrics/repa_l8/seed{seed}/wer.json.card.json" for seed in (0, 1)]
    assert found.card == " ".join(cards)


def test_lists_of_speech_are_scored_apart_and_utterances_count_alike_where_they_should(tmp_path: Path, small: Experiment) -> None:
    table = table_of(small, tmp_path, write_metrics(tmp_path)).loc["copy_synthesis"]
    assert table.n.to_dict() == {
        "speech_cer": 4, "speech_fad_yamnet": 4, "speech_wer": 4, "speech_wer_unseen": 2, "speech_wer_utterance": 4,
    }  # fmt: skip
    assert table.value["speech_wer"] == pytest.approx(100 * 4 / 22, rel=1e-5)
    assert table.value["speech_wer_utterance"] == pytest.approx(100 * np.mean(1 / np.array(WORDS)), rel=1e-5)
    assert table.value["speech_wer_unseen"] == pytest.approx(100 * 2 / 8, rel=1e-5)


def test_every_row_of_the_clips_of_base_is_compared_with_it_and_no_other(tmp_path: Path, small: Experiment) -> None:
    paths = write_metrics(tmp_path)
    table = table_of(small, tmp_path, paths)
    assert table.difference.isna().groupby("row").all().to_dict() == {row: row == "base" for row in ERRORS}
    assert table.loc["ground_truth", "speech_fad_yamnet"].difference == -3.5, "one value beside both seeds of Base"
    path = tmp_path / "metrics" / "ground_truth" / "seed0" / "fad_yamnet.json"
    entry = read_json(path)["speech_fad_yamnet"]
    write_json(path, {"speech_fad_yamnet": entry | {"clips": "others"}})
    assert np.isnan(table_of(small, tmp_path, paths).loc["ground_truth", "speech_fad_yamnet"].difference)


def test_distances_are_averaged_over_seeds_and_deviations_subtracted(tmp_path: Path, small: Experiment) -> None:
    """Two seeds with values 4 and 5: their variance of the mean is 0.25, with one degree of freedom."""
    table = table_of(small, tmp_path, write_metrics(tmp_path))
    found = table.loc["control", "speech_fad_yamnet"]
    assert (found.value, found.n, found.seeds) == (4.5, 4, 2)
    clips, trainings = 16 * np.square(DEVIATIONS).sum(), 0.25
    quantile = (clips * stats.t.ppf(0.975, 2) + trainings * stats.t.ppf(0.975, 1)) / (clips + trainings)
    assert found.high - found.value == pytest.approx(quantile * np.sqrt(clips + trainings), rel=1e-5)
    assert found.difference == 1, "the trainings cancel"
    half = stats.t.ppf(0.975, 2) * np.sqrt(np.square(DEVIATIONS).sum())
    assert found.difference_high - found.difference == pytest.approx(half, rel=1e-5)
    p = 2 * stats.t.sf(1 / np.sqrt(np.square(DEVIATIONS).sum()), 2)
    assert found.difference_p == pytest.approx(p, rel=1e-5)


def test_a_distance_without_halves_has_no_interval(tmp_path: Path, small: Experiment) -> None:
    paths = write_metrics(tmp_path)
    for path in (path for path in paths if path.name == "fad_yamnet.json"):
        entry = read_json(path)["speech_fad_yamnet"]
        write_json(path, {"speech_fad_yamnet": entry | {"deviations": [0.0], "freedom": 0.0}})
    found = table_of(small, tmp_path, paths).loc["repa_l8", "speech_fad_yamnet"]
    assert found[["value", "difference"]].tolist() == [2.5, -1]
    assert found[["low", "high", "difference_low", "difference_high", "difference_p"]].isna().all()


def test_seeds_of_other_clips_are_an_error(tmp_path: Path, small: Experiment) -> None:
    paths = write_metrics(tmp_path)
    place = tmp_path / "metrics" / "repa_l8" / "seed1"
    entry = read_json(place / "fad_yamnet.json")["speech_fad_yamnet"]
    write_json(place / "fad_yamnet.json", {"speech_fad_yamnet": entry | {"clips": "others"}})
    with pytest.raises(ArtifactError, match=r"seed1/fad_yamnet\.json has other clips than .*seed0/fad_yamnet\.json"):
        table_of(small, tmp_path, paths)
    write_json(place / "fad_yamnet.json", {"speech_fad_yamnet": entry})
    write_table(place / "wer.parquet", utterances("repa_l8", 1)[1:])
    with pytest.raises(ArtifactError, match=r"seed1/wer\.parquet has other clips than .*seed0/wer\.parquet"):
        table_of(small, tmp_path, paths)


def test_losses_of_validation_clips_are_paired_clip_by_clip(tmp_path: Path, small: Experiment) -> None:
    table = table_of(small, tmp_path, write_metrics(tmp_path), write_losses(tmp_path))
    rows = table[table.index.get_level_values("metric") == "speech_flow_loss"]
    assert rows.index.get_level_values("row").tolist() == ["base", "repa_l8"], "anchors and the control have none"
    found = table.loc["repa_l8", "speech_flow_loss"]
    assert (found.value, found.n, found.seeds) == (pytest.approx(1.0), 3, 2)
    assert found.difference == pytest.approx(-0.2)
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert found.difference_high - found.difference == pytest.approx(half, rel=1e-4)
    assert found.card.split()[1].endswith("arms/repa_l8/seed1/checkpoint.safetensors.card.json")
    with pytest.raises(ArtifactError, match=r"validation losses lie at arms/<arm>/seed<seed>/validation\.parquet"):
        scores.add_losses({}, [tmp_path / "validation.parquet"])


def test_arms_are_held_against_each_other_as_they_are_against_base(tmp_path: Path, small: Experiment) -> None:
    """Under another name for Base the pair of arms has the very numbers of the difference to Base."""
    scored = table_of(small, tmp_path, write_metrics(tmp_path), write_losses(tmp_path)).loc["repa_l8"]
    assert pd.read_csv(tmp_path / "pairs.csv").empty, "the only pair is one with Base"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "BASE", "control")
        patch.setattr(Experiment, "bases", dict.fromkeys(small.arms, "control"))
        table_of(small, tmp_path, write_metrics(tmp_path), write_losses(tmp_path))
    pairs = pd.read_csv(tmp_path / "pairs.csv")
    assert list(pairs.columns) == ["first", "second", "metric", "difference", "low", "high", "p", "n", "unit", "sd"]
    assert pairs[["first", "second"]].drop_duplicates().to_numpy().tolist() == [["base", "repa_l8"]]
    pairs = pairs.set_index("metric")
    assert set(pairs.index) == {*METRICS, "speech_flow_loss"}
    for metric, found in pairs.iterrows():
        against = scored.loc[metric]
        turned = [-against.difference, -against.difference_high, -against.difference_low, against.difference_p, against.n]
        assert found[["difference", "low", "high", "p", "n"]].tolist() == pytest.approx(turned, rel=1e-9, nan_ok=True)


def test_a_pair_has_its_deviation_over_seeds_where_there_are_several(
    tmp_path: Path, demo: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In seed 1 alone REPA makes five errors more: 5 of 22 words, and of two seeds a deviation of that over sqrt 2."""
    monkeypatch.setattr(scores, "BASE", "control")
    monkeypatch.setattr(Experiment, "bases", dict.fromkeys(("base", "repa_l8"), "control"))
    paths = write_metrics(tmp_path)
    table = utterances("repa_l8", 1)
    table.loc[0, "word_errors"] += 5
    write_table(tmp_path / "metrics/repa_l8/seed1/wer.parquet", table)
    for seeds, expected in (([0, 1], 100 * 5 / sum(WORDS) / np.sqrt(2)), ([0], None)):
        p = demo.model_copy(update={"arms": ["base", "repa_l8"], "seeds": seeds})
        table_of(p, tmp_path, [path for path in paths if seeds == [0, 1] or "seed1" not in str(path)])
        pairs = pd.read_csv(tmp_path / "pairs.csv").set_index("metric")
        assert ("sd" in pairs) == (expected is not None)
        assert expected is None or pairs.loc["speech_wer", "sd"] == pytest.approx(expected, rel=1e-5)


def test_transcripts_keep_what_was_heard(tmp_path: Path, small: Experiment) -> None:
    table_of(small, tmp_path, write_metrics(tmp_path))
    heard = pd.read_csv(tmp_path / "transcripts.csv")
    assert list(heard.columns) == ["row", "seed", "clip", "speaker", "reference", "hypothesis"]
    assert len(heard) == 2 * 6 + 3 * 2 * 6
    assert heard.iloc[-1].tolist() == ["control", 1, "queen_z", "someone", "it is said", "control 1"]


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
    places = {"losses": [], "out": tmp_path / "again.csv", "pairs": tmp_path / "p.csv"}
    places |= {"values": tmp_path / "v.json", "transcripts": tmp_path / "t.csv"}
    scores.run(settings(small, "scores"), metrics=paths, utterances=moved, **places)
    assert pd.read_csv(tmp_path / "again.csv").set_index(["row", "metric"]).equals(table)
    with pytest.raises(ArtifactError, match="name one table for each metric"):
        scores.run(settings(small, "scores"), metrics=paths, utterances=moved[:-1], **places)


def test_metrics_for_dvc_hold_the_values_of_the_table(tmp_path: Path, small: Experiment) -> None:
    table = table_of(small, tmp_path, write_metrics(tmp_path))
    values = read_json(tmp_path / "metrics.json")
    assert {(row, metric): value for row, metrics in values.items() for metric, value in metrics.items()} == table.value.to_dict()
