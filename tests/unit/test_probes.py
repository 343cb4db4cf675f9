"""Probes: gradient norm against autograd, LASP against its definition, FoG-A's controls and trend, and the summary of scores."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from agrepa.alignment.bit_c import BiTC
from agrepa.data.collate import Batch
from agrepa.flow.loss import flow_matching_loss
from agrepa.flow.path import velocity
from agrepa.probes import fog_a_trend
from agrepa.probes.controls import PAIRS, compare
from agrepa.probes.gradient_norm import gradient_norm
from agrepa.probes.lasp import lasp
from agrepa.probes.measurement import Place, Scores, rank_correlation, summarise


@pytest.fixture
def place(inputs):
    x, t, c, mask = inputs
    eps, mel, teacher = torch.randn_like(x), torch.randn_like(x), torch.randn(3, 6)
    return Place("speech", 0, Batch(["a", "b", "c"], mel, mask, c, torch.zeros(3), {"speech": teacher}, {}), eps, x, t)


def test_gradient_norm_equals_one_backward_a_clip(model, place):
    scores = gradient_norm(model, place)
    batch = place.batch
    for i in range(3):
        model.zero_grad()
        predicted = model(place.x, place.t, batch.condition, batch.mask)
        flow_matching_loss(predicted, velocity(batch.mel, place.noise), batch.mask)[i].backward()
        for layer, block in enumerate(model.blocks):
            expected = torch.cat([w.grad.flatten() for w in block.parameters()]).norm()
            assert float(scores[layer, i]) == pytest.approx(float(expected), rel=1e-4)


def test_lasp_compares_every_layer_with_the_teacher_through_one_projection(model, place):
    bit_c = BiTC(24, {"speech": 6})
    scores = lasp(model, bit_c, place)
    states, batch = {}, place.batch
    with torch.no_grad():
        model(place.x, place.t, batch.condition, batch.mask, states=states)
        for layer in range(1, 6):
            for i, length in enumerate([12, 9, 5]):
                projected = bit_c.project["speech"](F.layer_norm(states[layer][i, :length].mean(0), (24,)))
                expected = F.cosine_similarity(projected, batch.teacher_vectors["speech"][i], dim=0)
                assert float(scores[layer - 1, i]) == pytest.approx(float(expected), abs=1e-5)


def test_summary_ranks_layers_and_says_how_stable_the_top_is():
    rng = np.random.default_rng(0)
    centres = np.array([5.0, 1.0, 4.0, 3.0, 0.5])
    values = centres[:, None, None] + 0.01 * rng.standard_normal((5, 2, 30))
    result = summarise(Scores(values, ["x"] * 30), [0.2, 0.8], 200, 0)
    assert result["ranking"] == [1, 3, 4, 2, 5]
    assert result["top_k_stability"] == [1.0, 0.0, 1.0, 1.0, 0.0]
    assert np.allclose(result["score"], values.mean((1, 2)))
    assert all(low <= score <= high for low, score, high in zip(result["low"], result["score"], result["high"], strict=True))
    assert np.shape(result["by_time"]) == (5, 2)
    # The interval is that of a mean of 30 clips: about +- 1.96 s / sqrt(30).
    width = np.array(result["high"]) - np.array(result["low"])
    expected = 2 * 1.96 * values.mean(1).std(1) / np.sqrt(30)
    assert np.allclose(width, expected, rtol=0.3)


def test_rank_correlations_are_spearmans_and_there_is_none_with_what_is_constant():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 5, (7, 4)), rng.standard_normal((7, 4))
    expected = [spearmanr(a[:, i], b[:, i]).statistic for i in range(4)]
    assert np.allclose(rank_correlation(a, b), expected, atol=1e-12)
    assert float(rank_correlation(np.array([1.0, 2, 3, 4]), np.array([10.0, 30, 20, 40]))) == pytest.approx(0.8)
    assert np.isnan(rank_correlation(np.zeros(4), b[:4, 0]))


def test_controls_are_compared_over_layers_with_intervals_over_clips():
    layers = np.array([8.0, 1, 4, 2])[:, None, None] * np.ones((4, 2, 6))
    other = np.array([3.0, 2, 4, 1])[:, None, None] * np.ones((4, 2, 6))
    noisy = Scores(other + np.random.default_rng(0).normal(0, 2, other.shape), [f"s{i}" for i in range(6)])
    scores = {"fog_a": Scores(layers, noisy.families), "update_size": Scores(other, noisy.families), "mean_ablation": noisy}
    found = compare(scores, [0.2, 0.8], 300, 0)
    pairs = {tuple(pair["between"]): pair for pair in found["correlations"]}
    # Ranks of FoG-A 4 1 3 2 and of the size 3 2 4 1: differences 1, -1, -1, 1; 1 - 6 * 4 / (4 * 15).
    assert pairs["fog_a", "update_size"] == {
        "between": ["fog_a", "update_size"],
        **dict.fromkeys(("value", "low", "high"), pytest.approx(0.6)),
    }
    assert pairs["fog_a", "depth"]["value"] == pytest.approx(spearmanr([8, 1, 4, 2], [1, 2, 3, 4]).statistic)
    assert pairs["update_size", "depth"]["value"] == pytest.approx(spearmanr([3, 2, 4, 1], [1, 2, 3, 4]).statistic)
    mean, own = noisy.values.mean((1, 2)), pairs["fog_a", "mean_ablation"]
    assert own["value"] == pytest.approx(spearmanr([8, 1, 4, 2], mean).statistic)
    assert own["low"] < own["high"]
    assert found["mean_ablation"]["score"] == pytest.approx(mean.tolist())
    assert list(pairs) == list(PAIRS)


def test_controls_of_layers_that_all_score_the_same_have_no_rank_correlation():
    flat, clips = Scores(np.zeros((3, 1, 2)), ["a", "b"]), Scores(np.arange(6.0).reshape(3, 1, 2), ["a", "b"])
    first = compare({"fog_a": flat, "update_size": clips, "mean_ablation": clips}, [0.5], 20, 0)["correlations"]
    assert [pair["value"] for pair in first] == [None, None, None, 1.0, 1.0]
    assert first[0]["low"] is None


def test_a_trend_has_the_rank_correlation_of_successive_snapshots():
    steps = {0: [0.0, 0, 0, 0], 100: [1.0, 2, 3, 4], 200: [1.0, 3, 2, 4], 300: [4.0, 3, 2, 1]}
    found = fog_a_trend.table({step: {"speech": np.array(s), "audio": np.array(s)} for step, s in steps.items()})
    assert list(found) == ["step", "domain", "layer", "score", "rank_correlation"]
    assert found.score.tolist() == [v for s in steps.values() for v in (*s, *s)]
    audio = found[found.domain == "audio"]
    assert audio[audio.step <= 100].rank_correlation.isna().all(), "all layers tie in the first"
    assert audio[audio.step == 200].rank_correlation.tolist() == pytest.approx([0.8] * 4)
    assert audio[audio.step == 300].rank_correlation.tolist() == pytest.approx([-0.8] * 4)
