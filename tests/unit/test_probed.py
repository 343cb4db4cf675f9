"""Several warm-ups' probes as one: their mean with Student's t over warm-ups, and files that do not fit each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_results import made_probe
from scipy import stats

from agrepa.errors import ArtifactError
from agrepa.reporting.collected import read_probe, read_selections, selected
from agrepa.reporting.probed import pooled


def replications(folder: Path, name: str, seeds: range) -> Path:
    """A folder of probes in which each seed draws its own."""
    for seed in seeds:
        place = folder / f"seed{seed}" / f"{name}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(made_probe(name, np.random.default_rng(seed))))
    return folder


def test_the_interval_over_warm_ups_is_that_of_students_t(tmp_path: Path) -> None:
    alone = [read_probe(replications(tmp_path / str(seed), "fog_a", range(seed, seed + 1)), "fog_a") for seed in range(3)]
    both = read_probe(replications(tmp_path / "all", "fog_a", range(3)), "fog_a")["audio"]
    assert both.seeds == 3
    scores = np.array([one["audio"].score for one in alone])
    np.testing.assert_allclose(both.by_time, np.mean([one["audio"].by_time for one in alone], 0))
    for layer in range(len(both.layers)):
        expected = stats.ttest_1samp(scores[:, layer], 0).confidence_interval(0.95)
        assert (both.low[layer], both.high[layer]) == pytest.approx((expected.low, expected.high))
    assert both.ranking == [int(i) + 1 for i in np.argsort(-scores.mean(0))]
    correlations = {tuple(line["between"]): line for line in both.controls["correlations"]}
    assert correlations["fog_a", "update_size"] | {"between": 0} == {"between": 0, "value": 0.375, "low": 0.375, "high": 0.375}
    assert sum(line["value"] is None for line in correlations.values()) == 1, "one that is not defined stays so"


def test_lasp_is_ranked_where_every_warm_up_clears_its_floors(tmp_path: Path) -> None:
    lasp = read_probe(replications(tmp_path, "lasp", range(1)), "lasp")["speech"]
    floors = {"constant": 0.5, "shuffled": [0.25] * 12, "clears": [True] * 12, "ranked": True}
    good = replace(lasp, floors=floors)
    bad = replace(lasp, floors=floors | {"constant": 0.75, "clears": [False] * 12, "ranked": False})
    assert pooled([good, good]).floors["ranked"]
    found = pooled([good, bad]).floors
    assert (found["ranked"], found["constant"], found["clears"]) == (False, 0.625, [False] * 12)


def test_replications_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    folder = replications(tmp_path, "fog_a", range(2))
    (folder / "seed1" / "fog_a.json").unlink()
    with pytest.raises(ArtifactError, match=r"seed1/fog_a\.json is missing: run the stage fog_a"):
        read_probe(folder, "fog_a")
    part = read_probe(replications(tmp_path, "fog_a", range(1, 2)), "fog_a")["speech"]
    with pytest.raises(ArtifactError, match="differ in their layers or times"):
        pooled([part, replace(part, times=part.times[:-1])])


def test_selections_of_replications_are_shown_once_where_they_agree(tmp_path: Path) -> None:
    for seed, layers in enumerate(([1, 3], [1, 3], [2, 3])):
        place = tmp_path / f"seed{seed}" / "ag_repa.json"
        place.parent.mkdir()
        place.write_text(json.dumps({"domains": {"speech": {"layers": layers, "weights": [0.5, 0.5]}}}))
    found = read_selections(tmp_path)["ag_repa"]
    assert selected(found, "speech") == [([1, 3], [0.5, 0.5]), ([2, 3], [0.5, 0.5])]
    assert selected(found, "audio") == []
