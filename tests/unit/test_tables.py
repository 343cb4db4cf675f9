"""Tables 1 to 3 from a small made-up set of collected results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from made_results import CORRELATIONS, DEPTH, LEVELS, ROWS, made_scores, make, settings

from agrepa.errors import ArtifactError
from agrepa.params import Experiment
from agrepa.reporting import captions, layout, tables
from agrepa.reporting.collected import settling
from agrepa.reporting.metrics import distances, metrics

BY_FOG_A = "Highest FoG-A (top-3, equal weights)"


def test_table2_has_exactly_the_agreed_columns(demo: Experiment, written: Path) -> None:
    expected = ["method"]
    for metric in metrics(demo.evaluation.frechet.embeddings, demo.encoders):
        expected += [metric.name, f"{metric.name}_low", f"{metric.name}_high"]
        expected += [f"{metric.name}_n", f"{metric.name}_unit"]
        expected += [f"paper_{metric.paper}"] if metric.paper else []
    assert list(pd.read_csv(written / "table2.csv")) == [*expected, "layers_speech", "layers_audio", "seeds"]
    first = ["method", *(f"speech_wer{end}" for end in ("", "_low", "_high", "_n", "_unit")), "paper_speech_wer"]
    assert expected[:7] == first
    assert {"paper_speech_fad", "paper_audio_fad", "paper_speech_mos"} < set(expected)


def test_table2_puts_the_papers_value_beside_the_measured_one(written: Path) -> None:
    table = tables.read_frame(written / "table2.csv").set_index("method")
    assert list(table.index) == [
        "Ground truth",
        "Copy synthesis",
        "Base (no layer alignment)",
        "REPA @ n/3",
        "AG-REPA (FoG-A top-3)",
        "Control (tokens of another clip)",
    ]
    ours = table.loc["AG-REPA (FoG-A top-3)"]
    assert (ours.speech_wer, ours.speech_wer_low, ours.speech_wer_n, ours.paper_speech_wer) == (95.0, 93.5, 40, 3.45)
    assert (ours.paper_speech_fad, ours.paper_audio_fad, ours.paper_speech_mos) == (1.29, 2.56, 4.12)
    assert (ours.layers_speech, ours.layers_audio, ours.seeds) == ("1 2 7", "1 2 7", 1)
    assert table.loc["REPA @ n/3", "paper_speech_wer"] == 4.93
    assert table.loc[["Ground truth", "Copy synthesis", "Control (tokens of another clip)"], "paper_speech_wer"].isna().all()


def test_the_metrics_of_optional_networks_are_shown_where_they_were_measured(
    demo: Experiment, collected: Path, tmp_path: Path
) -> None:
    make(demo, collected, tmp_path / "without")
    assert not {"speech_wer_ctc", "speech_sim_o"} & set(pd.read_csv(tmp_path / "without" / "table2.csv"))
    scores = pd.read_csv(collected / "scores.csv")
    new = [scores[scores.metric == "speech_wer"].assign(metric=name) for name in ("speech_wer_ctc", "speech_sim_o")]
    pd.concat([scores, *new]).to_csv(collected / "scores.csv", index=False)
    make(demo, collected, tmp_path / "with")
    table = tables.read_frame(tmp_path / "with" / "table2.csv").set_index("method")
    assert table.loc["Base (no layer alignment)", "speech_wer_ctc"] == table.loc["Base (no layer alignment)", "speech_wer"]
    assert "speech_cer_ctc" not in table
    written = (tmp_path / "with" / "table2.md").read_text()
    assert "WER, second judge (%)" in written and "SIM-o (WavLM)" in written


def test_a_missing_metric_is_an_empty_cell_and_a_dash(written: Path) -> None:
    table = pd.read_csv(written / "table2.csv", dtype=str, keep_default_na=False)
    columns = [f"speech_cer{end}" for end in ("", "_low", "_high", "_n", "_unit")]
    assert set(table[columns].to_numpy().ravel()) == {""}
    line = next(line for line in (written / "table2.md").read_text().splitlines() if line.startswith("| Base"))
    assert line == "| Base (no layer alignment) | 97.3 [95.8, 99.0] | 40 | 5.82 | - | - | - | - | 82.0 [80.5, 83.8] | 40 |"


def test_words_name_data_judge_embeddings_and_rows_that_were_not_run(demo: Experiment, written: Path) -> None:
    text = (written / "table2.md").read_text()
    for words in (
        demo.reporting.data_note,
        "Whisper tiny.en",
        "589c9dac",
        "YAMNet",
        "aisfx",
        "VGGish",
        "not comparable in level",
    ):
        assert words in text
    assert "did not run: REPA @ L4; REPA @ L12; REPA @ L4,8,12; REPA @ deep (L20-22); REPA @ shallow (L1-3)." in text
    missing = "did not run: Random control; Highest LASP; Gradient norm; Highest FoG-A."
    assert missing in (written / "table3.md").read_text()
    for name in tables.NAMES:
        tex = (written / f"{name}.tex").read_text()
        assert tex.count(layout.escape(demo.reporting.data_note)) == tex.count(r"\begin{table}") > 0


def test_an_arm_of_ones_own_stands_in_tables_2_and_3_without_values_of_the_paper(
    demo: Experiment, collected: Path, tmp_path: Path
) -> None:
    own = demo.rows["ag_repa"].model_copy(update={"label": "Mine", "paper": {}, "weighting": "equal"})
    make(demo.model_copy(update={"rows": demo.rows | {"ag_repa": own}}), collected, tmp_path / "out")
    for table, value, paper in (
        ("table2", "speech_wer", "paper_speech_wer"),
        ("table3", "relative_gain_speech", "paper_relative_gain"),
    ):
        row = pd.read_csv(tmp_path / "out" / f"{table}.csv").set_index("method").loc["Mine"]
        assert pd.notna(row[value]) and pd.isna(row[paper])
    assert "| Mine |" in (tmp_path / "out/table3.md").read_text()


def test_table3_compares_equal_weights_only_and_table2_shows_what_no_other_table_does(
    demo: Experiment, collected: Path, tmp_path: Path
) -> None:
    shown = {}
    for row in ("ag_repa", "ag_repa_haste", "ag_repa_refreshed", "fog_a_equal", "random_1", "by_update_size"):
        experiment = demo.model_copy(update={"rows": demo.rows | {"ag_repa": demo.rows[row]}})
        make(experiment, collected, tmp_path / row)
        methods = [list(tables.read_frame(tmp_path / row / f"{table}.csv")["method"]) for table in ("table2", "table3")]
        shown[row] = [demo.rows[row].label in found for found in methods]
    assert shown == {
        "ag_repa": [True, False],
        "ag_repa_haste": [True, False],
        "ag_repa_refreshed": [True, False],
        "fog_a_equal": [False, True],
        "random_1": [False, True],
        "by_update_size": [True, True],
    }


def test_table1_shows_the_best_three_and_the_papers_config(written: Path) -> None:
    table = pd.read_csv(written / "table1.csv")
    assert len(table) == 12
    assert list(table[table.measure == "FoG-A speech"].layer) == [1, 2, 7]
    assert list(table[table.measure == "FoG-A speech"].paper_layer) == [1, 2, 7]
    assert list(table[table.measure == "Cos-SEM"].paper_layer) == [23, 22, 24]
    assert list(table[table.measure == "Cos-SEM"].layer) == [12, 11, 10]
    assert set(table.paper_config) == {"B"}
    assert table[table.measure == "Cos-SEM"].relative_depth.tolist() == pytest.approx([1, 11 / 12, 10 / 12], abs=1e-5)
    reading = "these are the same: speech 0 (paper 0), audio 0 (paper 0); 8 of the 12 ranked places"
    assert reading in (written / "table1.md").read_text()


def test_table1_takes_the_papers_config_a_when_the_experiment_has_it(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    single = demo.model_copy(update={"tokens": demo.tokens.model_copy(update={"config": "A"})})
    make(single, collected, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "table1.csv")
    assert list(table[table.measure == "FoG-A speech"].paper_layer) == [1, 9, 5]


def test_table1_holds_fog_a_against_its_controls(written: Path) -> None:
    table = tables.read_frame(written / "table1.controls.csv")
    assert list(table) == ["domain", "first", "second", "rank_correlation", "low", "high", "layers", "n"]
    assert list(zip(table["first"], table["second"], strict=True)) == CORRELATIONS * 2
    assert set(table.layers) == {DEPTH}
    text, tex = ((written / f"table1.{kind}").read_text() for kind in ("md", "tex"))
    assert "## Does FoG-A say more than the size of an update?" in text
    header = (
        "| domain | FoG-A with size of the update | FoG-A with mean-ablation | FoG-A with depth | size of the update with depth "
    )
    assert header + "| mean-ablation with depth | n (layers) | n (clips) |" in text
    cells = ["+0.875 [0.750, 0.938]", "+0.500 [0.375, 0.562]", "-", "-0.250 [-0.375, -0.188]", "-0.500 [-0.625, -0.438]"]
    assert f"| speech | {' | '.join(cells)} | 12 | 24 |" in text
    assert f"audio & {' & '.join(['+0.375 [0.250, 0.438]', *cells[1:]])} & 12 & 24 " in tex
    assert "Spearman's over layers, at t = 0.2, 0.8." in text


def test_table1_says_whether_the_order_of_the_layers_had_settled(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    make(demo, collected, tmp_path / "out")
    said = (
        "settled from a rank correlation of 0.8: speech: not settled, rank correlation 0.75 of steps 300 and 400; "
        "audio: settled, rank correlation 0.80 of steps 300 and 400."
    )
    for kind in ("md", "tex"):
        assert said in (tmp_path / "out" / f"table1.{kind}").read_text()
    trend = pd.read_csv(collected / "fog_a_trend.csv")
    assert settling(trend[trend.step < 200], "speech", 0.8) == "unknown, the last two snapshots have no rank correlation"


def test_a_fog_a_without_controls_is_named(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    path = collected / "probes/seed0/fog_a.json"
    data = json.loads(path.read_text())
    del data["domains"]["audio"]["controls"]
    path.write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match=r"fog_a\.json lacks controls for audio: run the stage fog_a again"):
        make(demo, collected, tmp_path / "out")


def equally_weighted(experiment: Experiment) -> Experiment:
    """The experiment with Table 3's row of FoG-A in the place of AG-REPA."""
    return experiment.model_copy(update={"rows": experiment.rows | {"ag_repa": experiment.rows["fog_a_equal"]}})


def test_table3_gain_is_relative_to_base(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    make(equally_weighted(demo), collected, tmp_path / "out")
    table = tables.read_frame(tmp_path / "out" / "table3.csv").set_index("method")
    assert list(table.index) == ["Base (no layer alignment)", BY_FOG_A]
    ours = table.loc[BY_FOG_A]
    # Base 14.0, AG-REPA 13.3, difference -0.7 [-20.7, 19.3]
    gain = [ours.relative_gain_speech, ours.relative_gain_speech_low, ours.relative_gain_speech_high]
    assert gain == pytest.approx([5.0, -100 * 19.3 / 14, 100 * 20.7 / 14], rel=1e-5)
    assert (ours.paper_relative_gain, ours.paper_layers, ours.weights_speech) == (29.9, "1 2 7", "0.550 0.300 0.150")
    assert table.loc["Base (no layer alignment)", "relative_gain_speech"] == 0


def test_every_cell_of_table2_names_its_run_card(written: Path) -> None:
    cards = pd.read_csv(written / "table2.cards.csv")
    assert list(cards) == ["method", "metric", "card"]
    assert len(cards) == len(ROWS) * len(LEVELS)
    assert cards.iloc[0].tolist() == ["Ground truth", "speech_wer", "work/demo/metrics/ground_truth/seed0/wer.json.card.json"]


def test_tables_are_the_same_bytes_every_time(demo: Experiment, collected: Path, written: Path, tmp_path: Path) -> None:
    make(demo, collected, tmp_path / "again")
    files = sorted(path.name for path in written.iterdir())
    assert len(files) == 45
    assert all((written / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in files)


def test_latex_is_balanced_and_escaped(written: Path) -> None:
    for name in tables.NAMES:
        text = (written / f"{name}.tex").read_text()
        plain = text.replace(r"\{", "").replace(r"\}", "")
        assert plain.count("{") == plain.count("}")
        assert "WER (%)" not in text
        assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda table: table.assign(row=table.row.replace("control", "kontrol")), "scores of unknown rows kontrol"),
        (lambda table: pd.concat([table, table.head(1)]), "ground_truth has speech_wer more than once"),
        (lambda table: table.drop(columns="high"), "lacks the columns high"),
        (lambda table: table.assign(value=table.value.astype(str) + "?"), "column value holds something that is not a number"),
        (lambda table: table.head(0), "holds no score"),
    ],
)
def test_damaged_scores_are_named(demo: Experiment, collected: Path, tmp_path: Path, damage, message: str) -> None:
    damage(made_scores()).to_csv(collected / "scores.csv", index=False)
    with pytest.raises(ArtifactError, match=message):
        make(demo, collected, tmp_path / "out")


@pytest.mark.parametrize("file", ["scores.csv", "probes/seed0/lasp.json", "selections/seed0/ag_repa.json"])
def test_a_missing_file_is_named(demo: Experiment, collected: Path, tmp_path: Path, file: str) -> None:
    (collected / file).unlink()
    with pytest.raises(ArtifactError, match=file.replace("selections/seed0", r"selections/seed\*")):
        make(demo, collected, tmp_path / "out")


def test_a_probe_whose_arrays_do_not_fit_is_named(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    path = collected / "probes/seed0/lasp.json"
    data = json.loads(path.read_text())
    data["domains"]["audio"]["low"].pop()
    path.write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match=r"lasp\.json: the arrays of audio do not fit its 12 layers"):
        make(demo, collected, tmp_path / "out")


@pytest.mark.parametrize(
    ("value", "low", "high", "signed", "text"),
    [
        (12.34, 10.06, 14.94, False, "12.3 [10.1, 14.9]"),
        (0.4, -1.1, 2.15, False, "0.40 [-1.10, 2.15]"),
        (101.2, 99.7, 102.95, False, "101 [100, 103]"),
        (0.0588, 0.05, 0.07, False, "0.0588 [0.0500, 0.0700]"),
        (-0.004, -20.0, 20.0, True, "0.0 [-20.0, 20.0]"),
        (2.5, 1.0, 4.0, True, "+2.50 [1.00, 4.00]"),
        (5.0, float("nan"), float("nan"), False, "5.00"),
        (float("nan"), float("nan"), float("nan"), False, "-"),
    ],
)
def test_intervals_are_written_with_about_three_digits(value: float, low: float, high: float, signed: bool, text: str) -> None:
    assert layout.interval(value, low, high, signed) == text


def test_reporting_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, agrepa.reporting.report, agrepa.reporting.compare; "
        "print(sorted({'torch', 'torchaudio', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def with_embeddings(experiment: Experiment, *names: str) -> Experiment:
    frechet = experiment.evaluation.frechet.model_copy(update={"embeddings": list(names)})
    return experiment.model_copy(update={"evaluation": experiment.evaluation.model_copy(update={"frechet": frechet})})


def test_the_embeddings_of_the_params_make_the_columns_and_the_first_the_gain(
    demo: Experiment, collected: Path, tmp_path: Path
) -> None:
    """Swapped, the other one stands beside the paper's values and the gain is taken on it."""
    make(with_embeddings(equally_weighted(demo), "aisfx", "yamnet"), collected, tmp_path / "out")
    ours = tables.read_frame(tmp_path / "out" / "table3.csv").set_index("method").loc[BY_FOG_A]
    assert ours.relative_gain_speech == pytest.approx(100 * (212 - 201) / 212, rel=1e-5)
    text = (tmp_path / "out" / "table3.md").read_text()
    header = "| method | FAD (aisfx) | n | FAD (YAMNet) | n | KAD (aisfx) | n | KAD (YAMNet) | n | flow loss | n "
    assert header + "| gain over Base (%, aisfx) | paper: FAD (VGGish) |" in text and "on FAD (aisfx)" in text
    assert "| FAD (aisfx) | n | paper: FAD (VGGish) | FAD (YAMNet) | n |" in (tmp_path / "out" / "table2.md").read_text()


def test_a_single_embedding_makes_tables_and_another_name_is_all_that_an_encoder_needs(
    demo: Experiment, collected: Path, tmp_path: Path
) -> None:
    scores = made_scores()
    scores["metric"] = scores["metric"].str.replace("yamnet", "mine")
    scores.to_csv(collected / "scores.csv", index=False)
    mine = demo.encoders["yamnet"].model_copy(update={"label": "Mine"})
    make(
        with_embeddings(demo.model_copy(update={"encoders": demo.encoders | {"mine": mine}}), "mine"), collected, tmp_path / "out"
    )
    text = (tmp_path / "out" / "table2.md").read_text()
    assert "embedding Mine (neither a teacher nor a source of tokens); the paper's is VGGish." in text
    assert "FAD (Mine)" in text and "YAMNet" not in text


def test_distances_come_by_domain_in_the_order_of_the_embeddings(demo: Experiment) -> None:
    found = distances(["aisfx", "yamnet"], demo.encoders)
    kinds = ("fad_aisfx", "fad_yamnet", "kad_aisfx", "kad_yamnet", "flow_loss")
    assert [metric.name for metric in found] == [f"{domain}_{kind}" for domain in ("speech", "audio") for kind in kinds]
    assert [metric.paper for metric in found if metric.paper] == ["speech_fad", "audio_fad"]
    assert found[0].paper and found[5].paper, "beside the first embedding's"


@pytest.mark.parametrize(
    ("config", "second", "words"),
    [
        ("B", "yamnet", "embeddings YAMNet (also a teacher and a source of tokens) and aisfx (independent of both);"),
        ("B", "aisfx", "embeddings YAMNet (also a teacher and a source of tokens) and aisfx (also a source of tokens);"),
        ("A", "aisfx", "embeddings YAMNet (also a teacher and a source of tokens) and aisfx (independent of both);"),
    ],
)
def test_the_caption_says_what_part_an_embedding_has_in_what_is_measured(
    demo: Experiment, config: str, second: str, words: str
) -> None:
    stream = demo.tokens.second_audio.model_copy(update={"encoder": second})
    tokens = demo.tokens.model_copy(update={"config": config, "second_audio": stream})
    p = settings(demo.model_copy(update={"tokens": tokens}), "tables")
    assert words in captions.embeddings(p)
    assert words in captions.caption(p, "table2") and words in captions.caption(p, "table3")


def test_the_caption_of_layers_says_what_the_second_tokens_are(demo: Experiment) -> None:
    p = settings(demo, "tables")
    words = "here and in the paper's values"
    second = "second tokens here: of speech what the first leaves (Whisper, layer5); of audio YAMNet, block8"
    assert f"token configuration B, {words} ({second}). Cos-SEM" in captions.caption(p, "table1")
    alone = demo.model_copy(update={"tokens": demo.tokens.model_copy(update={"config": "A"})})
    assert f"token configuration A, {words}. Cos-SEM" in captions.caption(settings(alone, "tables"), "table1")
