"""Layer rules at several depths, top-k, and weights."""

import numpy as np
import pytest

from agrepa import params, selection
from agrepa.alignment import ranking
from agrepa.artifacts.files import read_json, write_json
from agrepa.errors import ArtifactError
from agrepa.params.arms import LayerRule
from agrepa.params.stages import SelectSettings

RULES = {
    "L4": LayerRule(fractions=[0.1667]),
    "L8": LayerRule(fractions=[0.3333]),
    "L12": LayerRule(fractions=[0.5]),
    "all": LayerRule(fractions=[0.1667, 0.3333, 0.5]),
    "shallow": LayerRule(shallow=3),
    "deep": LayerRule(deep=3),
}


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (24, {"L4": [4], "L8": [8], "L12": [12], "all": [4, 8, 12], "shallow": [1, 2, 3], "deep": [20, 21, 22]}),
        (12, {"L4": [2], "L8": [4], "L12": [6], "all": [2, 4, 6], "shallow": [1, 2, 3], "deep": [8, 9, 10]}),
        (6, {"L4": [1], "L8": [2], "L12": [3], "all": [1, 2, 3], "shallow": [1, 2, 3], "deep": [2, 3, 4]}),
    ],
)
def test_layer_rules_scale_with_depth(depth, expected):
    assert {name: selection.fixed_layers(rule, depth) for name, rule in RULES.items()} == expected


@pytest.mark.parametrize("name", ["shallow", "deep"])
def test_a_rule_that_does_not_fit_is_an_error(name):
    with pytest.raises(ArtifactError, match=r"depth 2.*raise model.depth"):
        selection.fixed_layers(RULES[name], 2)


def test_top_k_counts_from_one_and_prefers_the_shallower_of_equals():
    assert ranking.top_k([0.1, 0.5, 0.5, 0.9], 3) == [4, 2, 3]
    with pytest.raises(ArtifactError, match="k = 5"):
        ranking.top_k([1.0, 2.0], 5)


def test_weights_are_shares_and_refuse_what_is_not_positive():
    assert ranking.weights([0.2, 0.1, 0.1]) == pytest.approx([0.5, 0.25, 0.25])
    with pytest.raises(ArtifactError, match="weighting: equal"):
        ranking.weights([0.2, -0.1])


def probe(path):
    domain = {"layers": [*range(1, 13)], "score": [0.1, 0.4, 0.2, 0.3] * 3, "low": [0.0] * 12, "high": [1.0] * 12}
    write_json(path, {"domains": {"speech": domain, "audio": domain | {"score": list(range(1, 13))}}})
    return path


@pytest.mark.parametrize("arm", ["base", "repa_l8", "repa_shallow", "repa_deep", "random", "lasp", "gradient_norm", "ag_repa"])
def test_every_row_gives_a_complete_selection_whose_weights_sum_to_one(demo, settings_of, tmp_path, arm):
    p = settings_of(SelectSettings, demo, arm=arm)
    needs_probe = p.strategy in ("lasp", "gradient_norm", "fog_a")
    found = [probe(tmp_path / "probe.json")] if needs_probe else []
    selection.run(p, arm=arm, seed="0", probe=found, out=tmp_path / "out.json")
    stored = read_json(tmp_path / "out.json")
    for domain in ("speech", "audio"):
        entry = stored["domains"][domain]
        assert len(entry["layers"]) == len(entry["weights"]) == (0 if arm == "base" else (1 if arm == "repa_l8" else 3))
        assert not entry["weights"] or sum(entry["weights"]) == pytest.approx(1)
    if arm == "ag_repa":
        assert stored["domains"]["audio"]["layers"] == [12, 11, 10]
        assert stored["domains"]["audio"]["weights"] == pytest.approx([12 / 33, 11 / 33, 10 / 33])
        assert stored["domains"]["speech"]["layers"] == [2, 6, 10]


def test_the_five_random_controls_are_five_sets_of_layers_and_the_first_is_the_seeds_own(demo, settings_of, tmp_path):
    drawn = []
    for draw, arm in enumerate(["random", "random_1", "random_2", "random_3", "random_4"]):
        p = settings_of(SelectSettings, demo, arm=arm)
        assert p.draw == draw
        selection.run(p, arm=arm, seed="0", probe=[], out=tmp_path / "out.json")
        speech, audio = (read_json(tmp_path / "out.json")["domains"][domain] for domain in ("speech", "audio"))
        assert speech == audio
        drawn.append(speech["layers"])
    assert drawn[0] == sorted(i + 1 for i in np.random.default_rng(demo.seed).permutation(12)[:3])
    assert len({tuple(layers) for layers in drawn}) == 5


def test_draws_go_through_every_set_of_layers_once():
    sets = [tuple(selection.random_layers(5, 2, 7, draw)) for draw in range(10)]
    assert sorted(sets) == [(a, b) for a in range(1, 6) for b in range(a + 1, 6)]


def test_layers_can_be_ranked_by_a_control_that_stands_beside_fog_a(demo, settings_of, tmp_path):
    domain = {"layers": [*range(1, 13)], "score": [9.0] + [0.1] * 11, "low": [0.0] * 12, "high": [9.0] * 12}
    others = {"update_size": [1, 5, 4, 3] * 3, "mean_ablation": [*range(12, 0, -1)]}
    controls = {name: {"score": score, "low": score, "high": score} for name, score in others.items()}
    write_json(tmp_path / "probe.json", {"domains": dict.fromkeys(("speech", "audio"), domain | {"controls": controls})})
    found = {}
    for arm in ("by_update_size", "by_mean_ablation"):
        p = settings_of(SelectSettings, demo, arm=arm)
        selection.run(p, arm=arm, seed="0", probe=[tmp_path / "probe.json"], out=tmp_path / "out.json")
        entry = read_json(tmp_path / "out.json")["domains"]["speech"]
        assert entry["weights"] == pytest.approx([1 / 3] * 3)
        found[arm] = entry["layers"], entry["scores"]
    assert found == {"by_update_size": ([2, 6, 10], [5, 5, 5]), "by_mean_ablation": ([1, 2, 3], [12, 11, 10])}


def test_a_layer_that_was_not_probed_is_not_selected_and_scores_stay_with_their_layers(demo, settings_of, tmp_path):
    domain = {"layers": [1, 3, 5, 7, 9, 11], "score": [0.1, 0.6, 0.2, 0.5, 0.3, 0.4]}
    domain |= {"low": [0.0, 0.5, 0.1, 0.4, 0.2, 0.3], "high": [0.2, 0.7, 0.3, 0.6, 0.4, 0.5]}
    write_json(tmp_path / "probe.json", {"domains": dict.fromkeys(("speech", "audio"), domain)})
    p = settings_of(SelectSettings, demo, arm="released_probe")
    selection.run(p, arm="released_probe", seed="0", probe=[tmp_path / "probe.json"], out=tmp_path / "out.json")
    entry = read_json(tmp_path / "out.json")["domains"]["audio"]
    assert entry["layers"] == [3, 7, 11]
    assert (entry["scores"], entry["low"], entry["high"]) == ([0.6, 0.5, 0.4], [0.5, 0.4, 0.3], [0.7, 0.6, 0.5])
    assert entry["weights"] == pytest.approx([0.6 / 1.5, 0.5 / 1.5, 0.4 / 1.5])


def test_a_strategy_without_its_probe_is_refused(demo, settings_of, tmp_path):
    with pytest.raises(ArtifactError, match="strategy 'fog_a' needs its k and the one result of its probe"):
        selection.run(
            settings_of(SelectSettings, demo, arm="ag_repa"), arm="ag_repa", seed="0", probe=[], out=tmp_path / "out.json"
        )


def test_every_row_of_tables_2_and_3_is_there(demo):
    linked = {table: [arm.paper[table] for arm in demo.rows.values() if table in arm.paper] for table in ("table2", "table3")}
    assert len(linked["table2"]) == 8
    assert set(linked["table3"]) == {"Base", "Random control", "Highest LASP", "Gradient norm", "Highest FoG-A"}
    assert linked["table3"].count("Random control") == 5


def test_k_above_the_number_of_layers_is_refused_before_anything_runs(demo):
    data = demo.model_dump(mode="json")
    data["rows"]["ag_repa"]["k"] = 13
    with pytest.raises(ValueError, match=r"k = 13 layers and the model has 12"):
        params.Experiment.model_validate(data)
