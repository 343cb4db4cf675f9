"""Tables 4 to 12: which rows of the paper an experiment has run, and what stands where it has not."""

import pandas as pd
import pytest
from made_results import PAPER, made_scores, settings
from scipy.stats import spearmanr

from agrepa.reporting import table_stability, table_steps, table_variants, tables
from agrepa.reporting.metrics import metrics
from agrepa.reporting.paper import Paper


@pytest.fixture
def measured(demo):
    return metrics(demo.evaluation.frechet.embeddings, demo.encoders)


def variants(demo, measured, name, scores=None):
    scores = made_scores() if scores is None else scores
    return table_variants.compute(name, demo.rows, demo.backbone_of, demo.backbones, scores, measured, Paper(PAPER))


def test_every_table_of_the_paper_is_written_with_all_its_rows(demo, written):
    paper = Paper(PAPER)
    for name in tables.NAMES:
        assert {(written / f"{name}.{suffix}").exists() for suffix in ("csv", "md", "tex")} == {True}
    for name in table_variants.TITLES:
        assert list(dict.fromkeys(pd.read_csv(written / f"{name}.csv")["method"])) == paper.methods(name)


def test_a_row_that_was_not_run_says_so_and_how_to_run_it(demo, written):
    page = tables.read_page(settings(demo, "tables"), "table8", written)
    frozen, refreshed = page.grids[0].rows
    assert frozen[:2] == ("Freeze", "AG-REPA (FoG-A top-3)") and "13.3 [11.8, 15.1]" in frozen
    assert set(refreshed[2:-2]) == {"not run"} and refreshed[-2:] == ("1.28", "2.55"), "the paper's values stay"
    assert "under arms in the params: ag_repa_refreshed." in page.notes[0] and "cost.md" in page.notes[0]
    assert page.reading.startswith("1 of 2 rows were run here.")


def test_table_12_sets_static_layers_beside_fog_a_s(demo, measured):
    frame = variants(demo, measured, "table12").set_index("arm")
    assert frame.loc["repa_l4_8_12", "paper_speech_fad"] == 1.45 and frame.loc["ag_repa", "paper_speech_fad"] == 1.29
    assert frame.loc["ag_repa_internal", "paper_audio_fad"] == 2.74 and frame.run.sum() == 1


def test_arms_stand_in_the_row_of_their_backbone(demo, measured):
    own = variants(demo, measured, "table5")
    assert own[own["run"] == 1][["method", "arm"]].to_numpy().tolist() == [["Own DiT", "base"], ["Own DiT", "ag_repa"]]
    assert own[own["method"] == "CosyVoice"]["arm"].tolist() == ["base_unet1d", "repa_shallow_unet1d", "ag_repa_unet1d"]

    scores = made_scores().replace({"row": {"base": "base_uvit", "ag_repa": "ag_repa_uvit"}})
    other = variants(demo, measured, "table4", scores=scores)
    assert other[other["run"] == 1][["method", "arm", "paper_speech_wer"]].to_numpy().tolist() == [
        ["Voicebox", "base_uvit", 2.05],
        ["Voicebox", "ag_repa_uvit", 1.85],
    ]
    assert "under arms in the params: base_unet1d, ag_repa_unet1d, base_f5, ag_repa_f5." in table_variants.missing(other)

    moved = demo.model_copy(update={"model": demo.model.model_copy(update={"kind": "f5"})})
    there = table_variants.compute(
        "table4", moved.rows, moved.backbone_of, moved.backbones, made_scores(), measured, Paper(PAPER)
    )
    assert set(there[there["run"] == 1]["method"]) == {"F5-TTS"}, "arms without a backbone are of the experiment's own"


def test_nothing_is_read_from_a_table_of_which_nothing_was_run(demo, measured):
    scores = made_scores()
    frame = variants(demo, measured, "table9", scores=scores[scores["row"] == "base"])
    assert table_variants.reading(frame, pd.DataFrame({"arm": []}), measured) == "This experiment ran none of its rows."


def test_the_best_three_are_followed_to_the_end_of_the_warm_up():
    scores = {100: [4, 3, 2, 1], 200: [1, 3, 2, 4], 300: [1, 4, 2, 3]}
    agreement = {100: None, 200: -0.2, 300: 0.8}
    lines = [
        (0, step, "speech", layer, float(score), agreement[step])
        for step, found in scores.items()
        for layer, score in enumerate(found, 1)
    ]
    trend = pd.DataFrame(lines, columns=["seed", "step", "domain", "layer", "score", "rank_correlation"])
    frame = table_stability.compute(trend, Paper(PAPER))
    assert frame["layers_speech"].tolist() == ["1 2 3", "4 2 3", "2 4 3", "1 2 7", "1 2 8", "1 2 7"]
    assert frame["jaccard_speech"].tolist()[:3] == [0.5, 1.0, 1.0]
    assert table_stability.reading(frame).endswith("speech: since step 200 of 300.")

    other = trend.assign(seed=1, score=trend["score"].where(trend["step"] < 300, trend["layer"].astype(float)))
    both = table_stability.compute(pd.concat([trend, other]), Paper(PAPER))
    assert both["method"].tolist()[:6:5] == ["Warm-up of seed 0, step 100", "Warm-up of seed 1, step 300"]
    assert both["jaccard_speech"].tolist()[:6] == [0.5, 1.0, 1.0, 0.5, 1.0, 1.0]
    between = both.iloc[6]
    assert between["method"] == "Between the last of 2 seeds"
    assert between["rank_correlation_speech"] == pytest.approx(spearmanr(scores[300], [1, 2, 3, 4]).statistic)
    assert between["jaccard_speech"] == 1.0
    assert table_stability.reading(both).endswith("in every seed, in any order: speech: since step 200 of 300.")


def test_steps_to_bases_last_loss_and_the_cost_of_probes_in_forwards(demo):
    lines = [("base", 200, 0.5), ("base", 400, 0.3), ("ag_repa", 200, 0.29), ("ag_repa", 400, 0.25), ("repa_l8", 400, 0.31)]
    curves = pd.DataFrame([(*line, "validation_flow", 0) for line in lines], columns=["row", "step", "value", "series", "seed"])
    paper, training = Paper(PAPER), demo.training
    frame = table_steps.compute(demo.rows, curves, demo.probes, training, 12, 2, paper).set_index("arm")
    assert frame.loc["ag_repa", ["steps", "training_cost", "paper_training_cost"]].tolist() == [200, 0.5, 0.3]
    assert pd.isna(frame.loc["repa_l8", "steps"]) and frame.loc["repa_l8", "probe_forwards"] == 0
    # 24 clips of 2 domains at 7 times, each (12 + 3) / 2 passes; a step is three passes of four crops.
    assert frame.loc["ag_repa", "probe_forwards"] == 24 * 2 * 7 * 7.5
    steps = training.warmup_steps + training.arm_steps
    assert frame.loc["ag_repa", "probe_cost"] == pytest.approx(24 * 2 * 7 * 7.5 / (3 * 4 * steps))
    assert "not reached" in table_steps.layout(frame.reset_index())[0].rows[1]
