"""The probe as the released code takes it, against a direct computation; and the table of what its departures move."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from made_results import made_pairs, made_scores, settings
from safetensors.torch import save_file

from agrepa.artifacts.files import read_json
from agrepa.data.dataset import Dataset
from agrepa.model.ablation import fog_a
from agrepa.model.backbone import build
from agrepa.params.stages import FogAReleasedSettings
from agrepa.probes import fog_a_released
from agrepa.reporting import table_released, tables
from agrepa.reporting.collected import read_pairs
from agrepa.reporting.metrics import metrics
from agrepa.tokens.sequence import vocabularies


@pytest.fixture
def probed(small, settings_of, stirred, features, tmp_path):
    """``probed(dropout)`` is a run of the probe: its settings, its network and what it wrote."""

    def run(dropout, name="probe"):
        p = settings_of(FogAReleasedSettings, small)
        p = dataclasses.replace(p, model=p.model.model_copy(update={"dropout": dropout}), bootstrap=20)
        torch.manual_seed(0)
        network = stirred(build(p.model, p.mel.bands, vocabularies(p.tokens), noise_scale=p.flow.noise_scale))
        save_file({f"ema.backbone.{k}": v for k, v in network.named_parameters()}, tmp_path / "w")
        torch.manual_seed(hash(name) % 1000)
        fog_a_released.run(p, kind="dit", seed="3", warmup=tmp_path / "w", **features["sources"], out=tmp_path / name)
        return p, network, tmp_path / name

    return run


def test_it_sees_the_clean_spectrogram_at_its_time_and_every_other_layer(probed, features):
    p, network, path = probed(0.0)
    dataset, written = Dataset(p, **features["sources"]), read_json(path)
    assert (written["probe"], written["seed"]) == ("fog_a_released", 3)
    for domain, clip in (("speech", "clip_16"), ("audio", "clip_17")):
        found, batch = written["domains"][domain], dataset.batch([clip])
        assert (found["layers"], found["times"], found["clips"]) == ([1, 3], [0.8], 1)
        t = torch.tensor([0.8])
        with torch.no_grad():
            full = network(batch.mel, t, batch.condition, batch.mask)
            for layer, score in zip(found["layers"], found["score"], strict=True):
                gates = torch.ones(4)
                gates[layer - 1] = 0
                without = network(batch.mel, t, batch.condition, batch.mask, gates=gates)
                assert score == pytest.approx(((without - full).norm() / full.norm()).item(), rel=1e-4)
        assert found["ranking"] == [found["layers"][i] for i in np.argsort(-np.array(found["score"]))]


def test_dropouts_are_in_the_scores_and_the_same_every_time(probed):
    without = read_json(probed(0.0, "without")[2])["domains"]["speech"]["score"]
    one, two = (probed(0.1, name)[2] for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert not np.allclose(read_json(one)["domains"]["speech"]["score"], without, rtol=0.01)


def test_in_train_mode_a_whole_run_has_dropouts_of_its_own_below_the_gate_too(model, inputs):
    x, t, condition, mask = inputs
    with torch.no_grad():
        model.blocks[-1].modulation.weight.zero_()
        model.blocks[-1].modulation.bias.zero_()
    model.train()
    arguments = (model, x, t, condition, mask)
    assert (fog_a(*arguments)[-1] == 0).all(), "the last layer adds nothing, and the short cut runs those below it once"
    assert (fog_a(*arguments, whole=True)[-1] > 0.01).all()
    model.eval()
    assert torch.allclose(fog_a(*arguments, whole=True), fog_a(*arguments), atol=1e-5)


@pytest.fixture
def measured(demo):
    return metrics(demo.evaluation.frechet.embeddings, demo.encoders)


RUN = {"released_weights": (-3.0, 1.0), "released_steps": (0.5, 2.0)}  # arm -> speech FAD less AG-REPA's, half its interval


def made(demo, measured, sd=None, wer=None):
    """The table of an experiment with two of the departures; the pairs of the second name it after AG-REPA."""
    scores = made_scores()
    level = scores[scores["row"] == "ag_repa"]
    if wer is not None:
        level = level.assign(value=level.value.where(level.metric != "speech_wer", wer))
        scores = pd.concat([scores[scores["row"] != "ag_repa"], level])
    scores = pd.concat([scores, *(level.assign(row=arm) for arm in RUN)])
    lines = []
    for arm, (gap, half) in RUN.items():
        for metric in ("speech_fad_yamnet", "speech_wer"):
            sign = 1 if arm == "released_weights" else -1
            ends = sorted((sign * (gap - half), sign * (gap + half)))
            first, second = (arm, "ag_repa") if sign == 1 else ("ag_repa", arm)
            lines.append((first, second, metric, sign * gap, *ends, 0.01, 40))
    pairs = pd.DataFrame(lines, columns=["first", "second", "metric", "difference", "low", "high", "p", "n"])
    part = {"domains": {domain: {"layers": [1, 2], "weights": [0.5, 0.5]} for domain in ("speech", "audio")}}
    selections = {arm: [part] for arm in (*RUN, "ag_repa")}
    pairs = pairs.assign(sd=float("nan") if sd is None else sd)
    return table_released.compute(demo.rows, scores, pairs, measured, selections)


def test_differences_are_to_ag_repa_and_its_own_to_base(demo, measured):
    table = made(demo, measured).set_index(["arm", "metric"])
    assert list(dict.fromkeys(arm for arm, _ in table.index)) == ["ag_repa", *table_released.DEPARTURES]
    numbers = ["difference", "low", "high", "half_width"]
    assert table.loc[("released_weights", "speech_fad_yamnet"), numbers].tolist() == [-3.0, -4.0, -2.0, 1.0]
    assert table.loc[("released_steps", "speech_fad_yamnet"), numbers].tolist() == [0.5, -1.5, 2.5, 2.0], "turned round"
    own = table.loc[("ag_repa", "speech_fad_yamnet")]
    assert own["difference"] == pytest.approx(13.3 - 14.0) and own["half_width"] == pytest.approx(20)
    assert table.loc[("released_probe", "speech_wer"), "run"] == 0


def test_the_reading_names_what_moves_something_beyond_the_noise_floor(demo, measured):
    said = table_released.reading(made(demo, measured), measured)
    assert "(2 differences, of which one in twenty" in said, "words that nobody understands are not compared"
    assert "AG-REPA, released weights: speech FAD (YAMNet) -3.00 [-4.00, -2.00]." in said
    assert said.endswith("Nothing is moved beyond it by AG-REPA, one step less.")
    assert "WER (%) -3.00" in table_released.reading(made(demo, measured, wer=40.0), measured).replace("speech ", "")
    spread = table_released.reading(made(demo, measured, sd=5.0), measured)
    assert spread.startswith("No departure moves anything beyond the noise floor (2 differences"), "seeds differ by more"


def test_the_table_shows_floors_and_says_how_to_run_what_was_not(demo, measured):
    frame = made(demo, measured, sd=0.25)
    gaps, floors = table_released.layout(frame, measured)
    rows = {row[0]: row for row in gaps.rows}
    assert rows["AG-REPA, released weights"][1:5] == ("weights", "AG-REPA (FoG-A top-3)", "1, 2", "1, 2")
    assert rows["AG-REPA (FoG-A top-3)"][2] == "Base"
    assert set(rows["AG-REPA as released"][5:]) == {"not run"}
    column = gaps.header.index("speech FAD (YAMNet)")
    assert rows["AG-REPA, one step less"][column] == "+0.50 [-1.50, 2.50]"
    assert "deviation of one seed's difference" in floors.title
    assert {row[0]: row[column - 4] for row in floors.rows}["AG-REPA, released weights"] == "1.00 / 0.250"
    (note,) = table_released.notes(frame)
    assert "under arms in the params: released_probe, released_start, released_interface, as_released." in note


def test_an_experiment_without_departures_says_so(demo, written):
    page = tables.read_page(settings(demo, "tables"), "released", written)
    assert page.reading == "This experiment ran none of the departures."
    assert len(page.grids) == 2 and len(page.grids[1].rows) == 1
    assert "released_probe, released_weights" in page.notes[0]
    scores = made_scores()
    frame = table_released.compute(
        demo.rows, scores[scores.row != "ag_repa"], made_pairs().assign(sd=np.nan), metrics(["yamnet"], demo.encoders), {}
    )
    assert "did not run ag_repa" in table_released.reading(frame, metrics(["yamnet"], demo.encoders))


def test_the_deviation_over_seeds_is_read_where_there_is_one(tmp_path):
    made_pairs().to_csv(tmp_path / "one.csv", index=False)
    made_pairs().assign(sd=0.5).to_csv(tmp_path / "two.csv", index=False)
    assert read_pairs(tmp_path / "one.csv").sd.isna().all() and (read_pairs(tmp_path / "two.csv").sd == 0.5).all()
