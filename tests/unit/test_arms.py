"""The rows of arms.yaml: what is held against each other differs in one key, and every arm aligns with the same weight."""

from importlib import import_module
from itertools import combinations

import numpy as np
import pytest
import torch

from agrepa import selection
from agrepa.alignment.protocols import OverTime
from agrepa.artifacts.files import read_json, write_json
from agrepa.params.stages import ArmSettings, SelectSettings
from agrepa.training.arm import selected

OF_A_STRATEGY = {"layers", "k", "draw"}  # what one strategy has and another has not
# What each table, or a question beside them, holds against each other, and the key in which the two differ. Table 3 is below.
COMPARED = {
    "table2": [
        ("repa_l4", "repa_l8", "layers"),
        ("repa_l8", "repa_l12", "layers"),
        ("repa_l12", "repa_l4_8_12", "layers"),
        ("repa_l4_8_12", "repa_deep", "layers"),
        ("repa_deep", "repa_shallow", "layers"),
        ("repa_shallow", "fog_a_equal", "strategy"),
        ("fog_a_equal", "ag_repa", "weighting"),
    ],
    "table8": [("ag_repa", "ag_repa_refreshed", "refresh")],
    "table9": [("ag_repa", "ag_repa_timestep", "weighting")],
    "table10": [
        ("ag_repa", "ag_repa_k2", "k"),
        ("ag_repa", "ag_repa_k4", "k"),
        ("ag_repa", "fog_a_equal", "weighting"),
        ("ag_repa_k2", "fog_a_equal_k2", "weighting"),
        ("ag_repa_k4", "fog_a_equal_k4", "weighting"),
    ],
    "table11": [("ag_repa", "ag_repa_conv", "head"), ("ag_repa", "ag_repa_conv2d", "head")],
    "table12": [
        ("ag_repa", "ag_repa_internal", "target"),
        ("repa_l4_8_12", "repa_l4_8_12_internal", "target"),
    ],
    "what ranks the layers": [("fog_a_equal", "by_update_size", "ranked_by"), ("fog_a_equal", "by_mean_ablation", "ranked_by")],
    "methods beside the paper's": [
        ("repa_l8", "repa_frames_l8", "target"),
        ("repa_frames_l8", "repa_frames_l8_noise_biased", "schedule"),
        ("repa_frames_l8", "haste", "schedule"),
        ("repa_frames_l8", "repa_frames_l8_conv", "head"),
        ("repa_frames_l8_conv", "irepa", "target"),
        ("repa_frames_l8", "sra", "target"),
        ("ag_repa", "ag_repa_frames", "target"),
        ("ag_repa", "ag_repa_haste", "schedule"),
    ],
    "the released code": [
        ("ag_repa", "released_probe", "strategy"),
        ("ag_repa", "released_weights", "weighting"),
        ("ag_repa", "released_start", "start"),
        ("ag_repa", "released_interface", "frozen_tokens"),
        ("ag_repa", "released_steps", "sampling_points"),
    ],
    "backbones": [
        (row, f"{row}_{kind}", "backbone") for kind in ("uvit", "f5", "unet1d") for row in ("base", "repa_shallow", "ag_repa")
    ],
}
TWO_KEYS = {"layersync"}  # a layer of the model is as wide as the model, and LayerSync has no head
STOPPED = {"haste", "ag_repa_haste"}  # aligned in the first half of Phase II alone
TWICE = {"released_weights", "as_released"}  # weights of the released code, twice the scores, whatever their sum


def differing(one, other):
    """The keys in which two arms differ, their names in the tables aside."""
    keys = {key for key in type(one).model_fields if getattr(one, key) != getattr(other, key)} - {"label", "paper"}
    absent = {key for key in OF_A_STRATEGY & keys if key != "k" or None in (one.k, other.k)}
    return keys - absent if "strategy" in keys else keys


@pytest.mark.parametrize("table", COMPARED)
def test_what_is_held_against_each_other_differs_in_one_key(demo, table):
    for one, other, key in COMPARED[table]:
        assert differing(demo.rows[one], demo.rows[other]) == {key}, (one, other)
    of_table = {name for name, arm in demo.rows.items() if table in arm.paper and arm.strategy != "none"}
    assert of_table <= {row for pair in COMPARED[table] for row in pair[:2]}


def test_any_two_rows_of_table_3_differ_in_how_their_layers_are_chosen_and_in_nothing_else(demo):
    rows = [name for name, arm in demo.rows.items() if "table3" in arm.paper and arm.strategy != "none"]
    assert rows == ["random", "random_1", "random_2", "random_3", "random_4", "lasp", "gradient_norm", "fog_a_equal"]
    for one, other in combinations(rows, 2):
        expected = {"draw"} if one.startswith("random") and other.startswith("random") else {"strategy"}
        assert differing(demo.rows[one], demo.rows[other]) == expected, (one, other)


def test_every_row_is_compared_with_another(demo):
    named = {row for pairs in COMPARED.values() for pair in pairs for row in pair[:2]} | TWO_KEYS | {"as_released"}
    named |= {name for name, arm in demo.rows.items() if "table3" in arm.paper}
    assert named == set(demo.rows)
    assert differing(demo.rows["repa_frames_l8"], demo.rows["layersync"]) == {"target", "head"}
    each = {key for _, _, key in COMPARED["the released code"]}
    assert differing(demo.rows["ag_repa"], demo.rows["as_released"]) == each, "all departures of the released code"


def made_probe(path):
    """A probe of 12 layers at three times, and its controls."""
    scores = np.abs(np.random.default_rng(0).standard_normal((12, 3))) + 0.1
    mean = scores.mean(1).tolist()
    entry = {"score": mean, "low": mean, "high": mean, "times": [0.1, 0.5, 0.9], "by_time": scores.tolist()}
    entry["layers"] = list(range(1, 13))
    entry["controls"] = {name: dict.fromkeys(("score", "low", "high"), mean) for name in ("update_size", "mean_ablation")}
    write_json(path, {"domains": {"speech": entry, "audio": entry}})
    return path


def test_every_arm_aligns_with_the_same_total_weight(demo, settings_of, tmp_path):
    """Over layers 1 at every t, and over uniform t 1 in every step in which it aligns at all; or twice the scores."""
    t = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    first, last = demo.training.warmup_steps, demo.training.warmup_steps + demo.training.arm_steps - 1
    for arm in [name for name, row in demo.rows.items() if row.strategy != "none"]:
        p = settings_of(SelectSettings, demo, arm=arm)
        probe = [] if p.strategy in ("fixed", "random") else [made_probe(tmp_path / "probe.json")]
        selection.run(p, arm=arm, seed="0", probe=probe, out=tmp_path / "out.json")
        schedule = import_module(f"agrepa.alignment.schedules.{demo.rows[arm].schedule}")
        weigh = schedule.build(settings_of(ArmSettings, demo, arm=arm))
        chosen = selected(tmp_path / "out.json")
        assert set(chosen) == {"speech", "audio"}
        for domain, (layers, shares) in chosen.items():
            assert len(set(layers)) == len(layers) == len(shares)
            whole = 1.0
            if arm in TWICE:
                scores = read_json(tmp_path / "out.json")["domains"][domain]["scores"]
                assert shares == [2 * score for score in scores]
                whole = 2 * sum(scores)
                assert abs(whole - 1) > 0.1
            total = sum(share(t) if isinstance(share, OverTime) else torch.full_like(t, share) for share in shares)
            assert torch.allclose(total, torch.full_like(t, whole)), arm
            assert (total * weigh(first, t)).mean().item() == pytest.approx(whole), arm
            assert (total * weigh(last, t)).mean().item() == pytest.approx(0 if arm in STOPPED else whole), arm


def test_timestep_adaptive_weights_are_the_shares_of_fog_a_at_each_time(demo, settings_of, tmp_path):
    p = settings_of(SelectSettings, demo, arm="ag_repa_timestep")
    by_time = [[3.0, 1.0], [1.0, 1.0], [1.0, 4.0], *([[0.1, 0.1]] * 9)]
    mean = [sum(row) / 2 for row in by_time]
    entry = {"layers": [*range(1, 13)], "score": mean, "low": mean, "high": mean, "times": [0.2, 0.8], "by_time": by_time}
    write_json(tmp_path / "probe.json", {"domains": {"speech": entry, "audio": entry}})
    selection.run(p, arm="ag_repa_timestep", seed="0", probe=[tmp_path / "probe.json"], out=tmp_path / "out.json")
    layers, shares = selected(tmp_path / "out.json")["speech"]
    assert layers == [3, 1, 2], "by the mean over t"
    at = torch.stack([share(torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0])) for share in shares])
    early, late = torch.tensor([1.0, 3.0, 1.0]) / 5, torch.tensor([4.0, 1.0, 1.0]) / 6
    assert torch.allclose(at.T, torch.stack([early, early, (early + late) / 2, late, late]))


def test_the_last_layer_is_not_selected_where_the_target_is_a_deeper_one(demo, settings_of, tmp_path):
    entry = {key: [float(layer) for layer in range(1, 13)] for key in ("score", "low", "high")} | {"layers": [*range(1, 13)]}
    write_json(tmp_path / "probe.json", {"domains": {"speech": entry, "audio": entry}})
    found = {}
    for arm in ("ag_repa", "ag_repa_internal"):
        p = settings_of(SelectSettings, demo, arm=arm)
        selection.run(p, arm=arm, seed="0", probe=[tmp_path / "probe.json"], out=tmp_path / "out.json")
        found[arm] = selected(tmp_path / "out.json")["audio"][0]
    assert found == {"ag_repa": [12, 11, 10], "ag_repa_internal": [11, 10, 9]}
