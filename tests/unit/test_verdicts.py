"""What the tables say of differences to Base and of layers: better or worse after Holm's correction, floors, what is seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_results import made_scores, make

from agrepa.params import Experiment
from agrepa.reporting import tables

AG, CONTROL = "AG-REPA (FoG-A top-3)", "Control (tokens of another clip)"


@pytest.fixture
def demo(demo: Experiment) -> Experiment:
    """The demo with its AG-REPA in Table 3, where it has no other row by FoG-A."""
    mine = demo.rows["ag_repa"]
    linked = mine.model_copy(update={"paper": mine.paper | {"table3": "Highest FoG-A"}})
    return demo.model_copy(update={"rows": demo.rows | {"ag_repa": linked}})


def remade(demo: Experiment, collected: Path, scores: pd.DataFrame, out: Path) -> Path:
    scores.to_csv(collected / "scores.csv", index=False)
    make(demo, collected, out)
    return out


def understood(scores: pd.DataFrame) -> pd.DataFrame:
    """The same with speech of which a third of the words is wrong."""
    models = scores.row.isin(["base", "repa_l8", "ag_repa"])
    scores.loc[(scores.metric == "speech_wer") & models, "value"] = 30.0
    return scores


def place(scores: pd.DataFrame, row: str, metric: str) -> pd.Series:
    return (scores.row == row) & (scores.metric == metric)


def test_readings_say_what_holds_after_holms_correction(written: Path) -> None:
    text = (written / "table2.md").read_text()
    assert (
        "**Reading.** Differences to Base that hold after Holm's correction, 1 of 12: "
        f"{AG}: speech UER (%) -4.10 [-5.10, -3.10], better."
    ) in text
    assert "differs from Base after Holm's correction in: speech UER (%) +15.5 [14.5, 16.5], worse." in text
    assert "no gain over Base holds after Holm's correction." in (written / "table3.md").read_text()
    assert "-4.10 [-5.10, -3.10] better |" in text
    assert "+15.5 [14.5, 16.5] |" in text, "the control is not in the race"


def test_an_interval_without_zero_is_no_verdict_by_itself(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    """Of twelve differences the smallest p has to be below 0.05 / 12."""
    for p, verdict in ((0.0042, ""), (0.0041, "better")):
        scores = made_scores()
        scores.loc[place(scores, "ag_repa", "speech_uer"), "difference_p"] = p
        out = remade(demo, collected, scores, tmp_path / f"{p}")
        gaps = tables.read_frame(out / "table2.differences.csv").set_index(["method", "metric"])
        assert gaps.verdict[AG, "speech_uer"] == verdict
        assert gaps.p_holm[AG, "speech_uer"] == pytest.approx(12 * p, rel=1e-5)
    text = (tmp_path / "0.0042" / "table2.md").read_text()
    assert "None of the 12 differences between an arm and Base holds after Holm's correction for their number." in text


def test_the_control_is_corrected_for_apart_from_the_arms(written: Path) -> None:
    gaps = tables.read_frame(written / "table2.differences.csv").set_index(["method", "metric"])
    # Eight metrics, of which WER and MOS are not judged.
    assert gaps.p_holm[CONTROL, "speech_uer"] == pytest.approx(6 * 0.0001)
    assert np.isnan(gaps.p_holm["Ground truth", "speech_fad_yamnet"]) and gaps.verdict["Ground truth", "speech_fad_yamnet"] == ""


def test_words_of_speech_that_is_not_understood_are_not_judged(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    scores = made_scores()
    scores.loc[scores.metric.isin(["speech_wer", "speech_mos_distill"]) & scores.difference.notna(), "difference_p"] = 1e-6
    out = remade(demo, collected, scores, tmp_path / "out")
    gaps = tables.read_frame(out / "table2.differences.csv").set_index(["method", "metric"])
    for metric in ("speech_wer", "speech_mos_distill"):
        assert gaps.verdict[AG, metric] == "not judged" and np.isnan(gaps.p_holm[AG, metric])
    note = f"WER, CER and MOS are not judged where a row's or Base's WER is above 80 %: REPA @ n/3, {AG}, {CONTROL}."
    assert note in (out / "table2.md").read_text()
    heard = remade(demo, collected, understood(scores), tmp_path / "heard")
    gaps = tables.read_frame(heard / "table2.differences.csv").set_index(["method", "metric"])
    assert gaps.verdict[AG, "speech_wer"] == "better"
    assert gaps.verdict[CONTROL, "speech_wer"] == "worse", "that the control is not understood is what it is there for"
    assert "not judged" not in (heard / "table2.md").read_text()


def test_a_higher_mos_is_better_and_a_lower_one_worse(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    scores, columns = understood(made_scores()), ["difference", "difference_low", "difference_high", "difference_p"]
    scores.loc[place(scores, "ag_repa", "speech_mos_distill"), columns] = [0.3, 0.1, 0.5, 0.001]
    scores.loc[place(scores, "repa_l8", "speech_mos_distill"), columns] = [-0.3, -0.5, -0.1, 0.001]
    text = (remade(demo, collected, scores, tmp_path / "out") / "table2.md").read_text()
    assert f"{AG}: speech MOS (Distill-MOS) +0.300 [0.100, 0.500], better" in text
    assert "REPA @ n/3: speech MOS (Distill-MOS) -0.300 [-0.500, -0.100], worse" in text


def test_gains_of_table_3_are_corrected_for_as_many_as_it_has(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    """One arm beside Base, two domains: the smaller p counts twice."""
    scores = made_scores()
    scores.loc[place(scores, "ag_repa", "audio_fad_yamnet"), "difference_p"] = 0.024
    text = (remade(demo, collected, scores, tmp_path / "out") / "table3.md").read_text()
    assert f"gains over Base that hold after Holm's correction: {AG} (audio, better)." in text
    scores.loc[place(scores, "ag_repa", "audio_fad_yamnet"), "difference_p"] = 0.026
    text = (remade(demo, collected, scores, tmp_path / "other") / "table3.md").read_text()
    assert "no gain over Base holds after Holm's correction." in text


def test_differences_without_an_interval_are_shown_but_not_counted(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    scores = made_scores()
    fad = scores.metric == "audio_fad_aisfx"
    scores.loc[fad, ["low", "high", "difference_low", "difference_high", "difference_p"]] = np.nan
    text = (remade(demo, collected, scores, tmp_path / "out") / "table2.md").read_text()
    assert "1 of 10:" in text
    assert "| -6.00 |" in text
    assert "| 150 | 40 |" in text


def test_the_tables_say_what_difference_they_could_have_seen(written: Path) -> None:
    """Half of the interval is 20 for one arm and 1 for the other."""
    text = (written / "table2.md").read_text()
    detectable = text[text.index("Detectable here") :].splitlines()[0]
    assert "speech WER (%) 20.0 (n 40), speech UER (%) 10.5 (n 40), " in detectable
    only = (written / "table3.md").read_text()
    only = only[only.index("Detectable here") :].splitlines()[0]
    assert "speech FAD (YAMNet) 20.0 (n 40)" in only and "WER" not in only


def test_n_says_whose_interval_it_is_and_a_note_how_many_trainings(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    alone = "One training a row: the intervals say how values vary with the clips, not with the training."
    scores = made_scores()
    scores.loc[scores.metric.isin(["speech_uer", "audio_uer"]), "unit"] = "clip"
    text = (remade(demo, collected, scores, tmp_path / "one") / "table2.md").read_text()
    assert "| 82.0 [80.5, 83.8] | 40, these speakers |" in text and "| 88.0 [86.5, 89.8] | 40, these sources |" in text
    assert alone in text
    text = (remade(demo, collected, scores.assign(seeds=3), tmp_path / "three") / "table2.md").read_text()
    assert alone not in text


def with_floors(folder: Path, domain: str, constant: float, ranked: bool) -> None:
    path = folder / "probes/seed0/lasp.json"
    data = json.loads(path.read_text())
    shuffled = [0.01 * layer for layer in range(1, 13)]
    floors = {"constant": constant, "shuffled": shuffled, "clears": [ranked] * 12, "ranked": ranked}
    data["domains"][domain]["floors"] = floors
    path.write_text(json.dumps(data))


def test_layers_that_do_not_clear_their_floor_are_not_ranked(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    with_floors(collected, "speech", 0.93, False)
    with_floors(collected, "audio", 0.05, True)
    make(demo, collected, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "table1.csv").set_index(["measure", "rank"])
    assert table.ranked.groupby("measure").min().to_dict() == {
        "Cos-EVT": 1, "Cos-SEM": 0, "FoG-A audio": 1, "FoG-A speech": 1,
    }  # fmt: skip
    best = table.loc["Cos-SEM", 1]
    assert (best.layer, best.floor_constant, best.floor_shuffled) == (12, 0.93, 0.12)
    assert np.isnan(table.loc["FoG-A speech", 1].floor_constant)
    text = (tmp_path / "out" / "table1.md").read_text()
    assert "Cos-SEM does not clear the score of a constant vector and of shuffled clips, so its layers are not ranked. " in text
    assert "these are the same: audio 0 (paper 0); " in text and "of the 9 ranked places" in text
    lines = [line for line in text.splitlines() if line.startswith("| Cos-SEM |")]
    assert len(lines) == 3
    assert all("| not ranked: does not clear its floor | L" in line and "| 0.930 |" in line for line in lines)


def test_table_1_says_what_the_floors_are_and_whether_teachers_are_standardised(
    demo: Experiment, collected: Path, written: Path, tmp_path: Path
) -> None:
    text = (written / "table1.md").read_text()
    assert "Floors of LASP: the cosine of the mean teacher vector of training with each clip's, and LASP against another" in text
    assert "teachers' vectors as they are." in text
    teachers = demo.teachers.model_copy(update={"standardised": True})
    make(demo.model_copy(update={"teachers": teachers}), collected, tmp_path / "other")
    assert "teachers' vectors standardised over the training clips." in (tmp_path / "other" / "table1.md").read_text()
