"""Tables 1 to 3 from a small made-up set of collected results, which the tests of figures and report use as well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from safetensors.numpy import save_file

from agrepa.errors import ArtifactError
from agrepa.params import Experiment
from agrepa.params.stages import Settings
from agrepa.pipeline import keys
from agrepa.reporting import captions, layout, tables
from agrepa.reporting.collected import settling
from agrepa.reporting.metrics import distances, metrics

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "results" / "paper"
DEPTH, TIMES = 12, [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95]
ARMS = ("base", "repa_l8", "ag_repa")
ROWS = ("ground_truth", "copy_synthesis", *ARMS, "control")
LEVELS = {
    "speech_wer": (6.1, 9.0, 97.3, 96.1, 95.0, 101.2),
    "speech_uer": (0.0, 34.0, 82.0, 79.5, 77.9, 97.5),
    "speech_mos_distill": (4.21, 2.72, 1.61, 1.66, 1.7, 1.6),
    "speech_fad_yamnet": (0.4, 2.1, 14.0, 13.8, 13.3, 14.9),
    "speech_fad_aisfx": (-0.2, 30.1, 212.0, 208.0, 201.0, 215.0),
    "audio_fad_yamnet": (0.5, 1.6, 11.2, 11.4, 10.9, 12.0),
    "audio_fad_aisfx": (1.2, 20.1, 150.0, 149.0, 144.0, 160.0),
    "audio_uer": (0.0, 51.0, 88.0, 87.0, 86.0, 96.0),
}
SCORE_COLUMNS = [
    "row",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "seeds",
    "unit",
    "difference",
    "difference_low",
    "difference_high",
    "difference_p",
    "card",
]


CORRELATIONS = [("fog_a", control) for control in ("update_size", "mean_ablation", "depth")]
CORRELATIONS += [("update_size", "depth"), ("mean_ablation", "depth")]


def settings(experiment: Experiment, stage: str, **wildcards: str) -> Settings:
    """What the stage may read of the experiment."""
    return keys.settings(stage, experiment, wildcards)


def made_scores() -> pd.DataFrame:
    """A scores.csv without CER: AG-REPA surely beats Base in speech UER, nothing else differs; the control is worse in it."""
    lines = []
    for metric, values in LEVELS.items():
        file = metric.split("_", 1)[1].replace("mos_distill", "mos").replace("uer", "units")
        for row, value in zip(ROWS, values, strict=True):
            line = {"row": row, "metric": metric, "value": value, "low": value - 1.5, "high": value + 1.75, "seeds": 1}
            line["n"], line["unit"] = 110 if row in ROWS[:2] else 40, "family"
            line["card"] = f"work/demo/metrics/{row}/seed0/{file}.json.card.json"
            if row in ("repa_l8", "ag_repa", "control") or (row in ROWS[:2] and "fad" in metric):
                margin = 1 if (metric == "speech_uer" and row != "repa_l8") or row in ROWS[:2] else 20
                gap = value - values[2]
                line |= {"difference": gap, "difference_low": gap - margin, "difference_high": gap + margin}
                line["difference_p"] = 0.0001 if abs(gap) > margin else 0.5
            lines.append(line)
    return pd.DataFrame(lines)[SCORE_COLUMNS]


def made_probe(name: str, rng: np.random.Generator) -> dict[str, object]:
    """A probe of 12 layers: FoG-A falls with depth and peaks at 1, 2, 7; LASP grows with depth."""
    domains = {}
    for number, domain in enumerate(("speech", "audio")):
        depth = np.arange(1, DEPTH + 1)
        shape = 0.3 / depth + 0.1 * np.isin(depth, (1, 2, 7)) if name != "lasp" else 0.02 * depth + 0.03 * (depth == 8 + number)
        by_time = shape[:, None] * (1 + 0.3 * np.sin(np.pi * np.array(TIMES))) + 0.002 * rng.standard_normal((DEPTH, len(TIMES)))
        score = by_time.mean(1)
        ranking = [int(layer) + 1 for layer in np.argsort(-score)]
        domains[domain] = {
            "layers": depth.tolist(), "times": TIMES, "score": score.tolist(), "low": (score * 0.9).tolist(),
            "high": (score * 1.15).tolist(), "by_time": by_time.tolist(), "clips": 24, "ranking": ranking,
            "top_k_stability": [0.97 if layer in ranking[:2] else 0.8 if layer == ranking[2] else 0.05 for layer in depth],
        }  # fmt: skip
        if name == "fog_a":
            found = zip(CORRELATIONS, (0.875 - number / 2, 0.5, None, -0.25, -0.5), strict=True)
            pairs = [{"between": list(pair), "value": v, "low": v and v - 0.125, "high": v and v + 0.0625} for pair, v in found]
            domains[domain]["controls"] = {"times": [0.2, 0.8], "correlations": pairs}
    return {"probe": name, "definition": "made up", "domains": domains}


def write_collected(folder: Path) -> Path:
    """A whole ``results/demo/scores`` as the stages before the reporting leave it."""
    rng = np.random.default_rng(7)
    (folder / "probes").mkdir(parents=True)
    made_scores().to_csv(folder / "scores.csv", index=False)
    for name in ("fog_a", "lasp", "gradient_norm"):
        (folder / "probes" / f"{name}.json").write_text(json.dumps(made_probe(name, rng)))
    (folder / "selections").mkdir()
    picks = {"base": ("none", [], []), "repa_l8": ("fixed", [4], [1.0]), "ag_repa": ("fog_a", [1, 2, 7], [0.55, 0.3, 0.15])}
    for arm, (strategy, layers, weights) in picks.items():
        part = {"layers": layers, "weights": weights, "scores": None, "low": None, "high": None}
        data = {"arm": arm, "strategy": strategy, "depth": DEPTH, "domains": {"speech": part, "audio": part}}
        (folder / "selections" / f"{arm}.json").write_text(json.dumps(data))
    steps = [0, 100, 200, 300, 400]
    agreement = {"speech": [None, None, 0.7, 0.85, 0.75], "audio": [None, None, 0.7, 0.75, 0.8]}
    lines = [
        (step, domain, layer, (0.3 / layer + 0.1 * (layer in (1, 2, 7))) * step / 400 + (0.01 * rng.random() if step else 0),
         agreement[domain][step // 100])
        for step in steps for domain in ("speech", "audio") for layer in range(1, DEPTH + 1)
    ]  # fmt: skip
    columns = ["step", "domain", "layer", "score", "rank_correlation"]
    pd.DataFrame(lines, columns=columns).to_csv(folder / "fog_a_trend.csv", index=False)
    _write_curves(folder, rng)
    _write_listening(folder / "listening", rng)
    return folder


def _write_curves(folder: Path, rng: np.random.Generator) -> None:
    lines = []
    for row, first, last in (("warmup", 0, 400), *((arm, 400, 1000) for arm in ARMS)):
        for step in range(first, last + 1, 10):
            loss = (
                0.3 + 0.9 * np.exp(-step / 150) - 0.01 * ARMS.index(row) * (step - 400) / 600
                if row in ARMS
                else 0.3 + 0.9 * np.exp(-step / 150)
            )
            if step > first:
                lines.append((row, 0, step, "train_flow", loss + 0.04 * rng.standard_normal()))
            if step % 100 == 0:
                for series, shift in (("validation_flow", 0), ("validation_flow_speech", -0.02), ("validation_flow_audio", 0.02)):
                    lines.append((row, 0, step, series, loss + shift))
    pd.DataFrame(lines, columns=["row", "seed", "step", "series", "value"]).to_csv(folder / "curves.csv", index=False)


def _write_listening(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir()
    lines, mels = [], {}
    for number in range(6):
        speech, seconds = number < 3, 1.0 + 0.25 * number
        clip = f"queen_{number:03d}" if speech else f"ufoai_{number:03d}"
        text, label = ("You must be the new pilot <from> Rio & friends.", "") if speech else ("", "door & hinge")
        lines.append((clip, "speech" if speech else "audio", "joe" if speech else "wind", text, label, seconds))
        frames = int(62.5 * seconds)
        for row in ROWS:
            waves = np.sin(np.arange(frames)[:, None] / 5 + number) + np.cos(np.arange(80)[None] / 9)
            noise = 15 * rng.standard_normal((frames, 80))
            mels[f"{row}/{clip}"] = np.clip(128 + 50 * waves + noise, 0, 255).astype(np.uint8)
            if row in (*ARMS, "control"):
                file = folder / "audio" / row / f"{clip}.flac"
                file.parent.mkdir(parents=True, exist_ok=True)
                phase = 2 * np.pi * (200 + 50 * number) * np.arange(int(16000 * seconds)) / 16000
                soundfile.write(file, 0.2 * np.sin(phase), 16000, subtype="PCM_16")
    columns = ["clip", "domain", "family", "text", "label", "seconds"]
    pd.DataFrame(lines, columns=columns).to_csv(folder / "clips.csv", index=False)
    save_file(mels, folder / "mels.safetensors")
    (folder / "mels.json").write_text('{"min": -11.5, "max": 4.0}')


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    return write_collected(tmp_path / "demo" / "scores")


@pytest.fixture
def written(demo: Experiment, collected: Path, tmp_path: Path) -> Path:
    """The folder of the tables."""
    make(demo, collected, tmp_path / "tables")
    return tmp_path / "tables"


def make(experiment: Experiment, collected: Path, out: Path) -> None:
    tables.run(
        settings(experiment, "tables"),
        scores=collected / "scores.csv",
        probes=collected / "probes",
        trend=collected / "fog_a_trend.csv",
        selections=collected / "selections",
        paper=PAPER,
        out=out,
    )


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
    assert "did not run: Random control; Highest LASP; Gradient norm." in (written / "table3.md").read_text()
    for name in tables.NAMES:
        tex = (written / f"{name}.tex").read_text()
        assert tex.count(layout.escape(demo.reporting.data_note)) == tex.count(r"\begin{table}") > 0


def test_an_arm_of_ones_own_stands_in_tables_2_and_3_without_values_of_the_paper(
    demo: Experiment, collected: Path, tmp_path: Path
) -> None:
    own = demo.rows["ag_repa"].model_copy(update={"label": "Mine", "paper": {}})
    make(demo.model_copy(update={"rows": demo.rows | {"ag_repa": own}}), collected, tmp_path / "out")
    for table, value, paper in (
        ("table2", "speech_wer", "paper_speech_wer"),
        ("table3", "relative_gain_speech", "paper_relative_gain"),
    ):
        row = pd.read_csv(tmp_path / "out" / f"{table}.csv").set_index("method").loc["Mine"]
        assert pd.notna(row[value]) and pd.isna(row[paper])
    assert "| Mine |" in (tmp_path / "out/table3.md").read_text()


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
    path = collected / "probes" / "fog_a.json"
    data = json.loads(path.read_text())
    del data["domains"]["audio"]["controls"]
    path.write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match=r"fog_a\.json lacks controls for audio: run the stage fog_a again"):
        make(demo, collected, tmp_path / "out")


def test_table3_gain_is_relative_to_base(written: Path) -> None:
    table = tables.read_frame(written / "table3.csv").set_index("method")
    assert list(table.index) == ["Base (no layer alignment)", "AG-REPA (FoG-A top-3)"]
    ours = table.loc["AG-REPA (FoG-A top-3)"]
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
    assert len(files) == 13
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


@pytest.mark.parametrize("file", ["scores.csv", "probes/lasp.json", "selections/ag_repa.json"])
def test_a_missing_file_is_named(demo: Experiment, collected: Path, tmp_path: Path, file: str) -> None:
    (collected / file).unlink()
    with pytest.raises(ArtifactError, match=file):
        make(demo, collected, tmp_path / "out")


def test_a_probe_whose_arrays_do_not_fit_is_named(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    path = collected / "probes" / "lasp.json"
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
    make(with_embeddings(demo, "aisfx", "yamnet"), collected, tmp_path / "out")
    ours = tables.read_frame(tmp_path / "out" / "table3.csv").set_index("method").loc["AG-REPA (FoG-A top-3)"]
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
