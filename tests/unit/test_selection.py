"""Layer rules at several depths, top-k, and weights."""

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
    domain = {"score": [0.1, 0.4, 0.2, 0.3] * 3, "low": [0.0] * 12, "high": [1.0] * 12}
    write_json(path, {"domains": {"speech": domain, "audio": domain | {"score": list(range(1, 13))}}})
    return path


@pytest.mark.parametrize("arm", ["base", "repa_l8", "repa_shallow", "repa_deep", "random", "lasp", "gradient_norm", "ag_repa"])
def test_every_row_gives_a_complete_selection_whose_weights_sum_to_one(demo, settings_of, tmp_path, arm):
    p = settings_of(SelectSettings, demo, arm=arm)
    needs_probe = p.strategy in ("lasp", "gradient_norm", "fog_a")
    found = [probe(tmp_path / "probe.json")] if needs_probe else []
    selection.run(p, arm=arm, probe=found, out=tmp_path / "out.json")
    stored = read_json(tmp_path / "out.json")
    for domain in ("speech", "audio"):
        entry = stored["domains"][domain]
        assert len(entry["layers"]) == len(entry["weights"]) == (0 if arm == "base" else (1 if arm == "repa_l8" else 3))
        assert not entry["weights"] or sum(entry["weights"]) == pytest.approx(1)
    if arm == "ag_repa":
        assert stored["domains"]["audio"]["layers"] == [12, 11, 10]
        assert stored["domains"]["audio"]["weights"] == pytest.approx([12 / 33, 11 / 33, 10 / 33])
        assert stored["domains"]["speech"]["layers"] == [2, 6, 10]


def test_a_strategy_without_its_probe_is_refused(demo, settings_of, tmp_path):
    with pytest.raises(ArtifactError, match="strategy 'fog_a' needs its k and the one result of its probe"):
        selection.run(settings_of(SelectSettings, demo, arm="ag_repa"), arm="ag_repa", probe=[], out=tmp_path / "out.json")


def test_every_row_of_tables_2_and_3_is_there(demo):
    linked = {table: [arm.paper[table] for arm in demo.rows.values() if table in arm.paper] for table in ("table2", "table3")}
    assert len(linked["table2"]) == 8
    assert len(linked["table3"]) == 5


def test_k_above_the_number_of_layers_is_refused_before_anything_runs(demo):
    data = demo.model_dump(mode="json")
    data["rows"]["ag_repa"]["k"] = 13
    with pytest.raises(ValueError, match=r"k = 13 layers and the model has 12"):
        params.Experiment.model_validate(data)
