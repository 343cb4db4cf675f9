"""Probes: gradient norm against autograd, LASP against its definition and floors, FoG-A's controls and trend, summaries."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy.stats import spearmanr
from scipy.stats import t as student

from agrepa.alignment.bit_c import BiTC
from agrepa.artifacts.files import read_json
from agrepa.data.collate import Batch, Whole
from agrepa.data.dataset import Dataset
from agrepa.data.noise import clip_noise
from agrepa.flow.loss import flow_matching_loss
from agrepa.flow.path import velocity
from agrepa.model.backbone import build
from agrepa.params.stages import LaspSettings
from agrepa.probes import fog_a_trend
from agrepa.probes.controls import PAIRS, compare
from agrepa.probes.gradient_norm import gradient_norm
from agrepa.probes.lasp import floors, lasp, run
from agrepa.probes.measurement import Place, Scores, rank_correlation, summarise
from agrepa.tokens.sequence import vocabularies


@pytest.fixture
def place(inputs):
    x, t, c, mask = inputs
    eps, mel, teacher = torch.randn_like(x), torch.randn_like(x), torch.randn(3, 6)
    whole = Whole(["a", "b", "c"], ["speech"] * 3)
    return Place("speech", 0, Batch(whole.ids, mel, mask, c, torch.zeros(3), {"speech": teacher}, {}, whole), eps, x, t)


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


@pytest.mark.parametrize("clips", [12, 24, 64])
def test_an_interval_of_few_clips_is_as_wide_as_students(clips):
    """Of values without skew, whose bootstrap is nearly normal."""
    values = np.linspace(-1, 1, clips)[None, None]
    found = summarise(Scores(values, ["x"] * clips), [0.5], 20000, 0)
    low, high = student.interval(0.95, clips - 1, loc=0, scale=values.std(ddof=1) / np.sqrt(clips))
    assert found["high"][0] - found["low"][0] == pytest.approx(high - low, rel=0.03)


def test_a_layer_clears_its_floors_where_it_surely_scores_more_than_both():
    """Two clips, one time. Layer 4 is above both on one clip and below on the other, which no mean makes sure."""
    own = np.array([[0.9, 0.9], [0.8, 0.8], [0.7, 0.7], [1.0, 0.2]])[:, None]
    shuffled = np.array([[0.5, 0.5], [0.5, 0.7], [0.8, 0.8], [0.5, 0.5]])[:, None]
    found = floors(Scores(own, ["x"] * 2), Scores(shuffled, ["x"] * 2), np.array([0.6, 0.4]), 1000, 0)
    assert found["constant"] == 0.5
    assert found["shuffled"] == pytest.approx([0.5, 0.6, 0.8, 0.5])
    assert found["clears"] == [True, True, False, False], "layer 3 knows other clips better"
    assert not found["ranked"], "layer 3 is among the best three"
    high = floors(Scores(own, ["x"] * 2), Scores(shuffled, ["x"] * 2), np.array([0.85, 0.85]), 1000, 0)
    assert high["clears"] == [True, False, False, False]
    best = floors(Scores(own[:2], ["x"] * 2), Scores(shuffled[:2], ["x"] * 2), np.array([0.6, 0.4]), 1000, 0)
    assert best["ranked"]


def test_the_floors_of_a_run_are_the_mean_teacher_and_the_next_clips_vector(small, settings_of, features, tmp_path):
    p = settings_of(LaspSettings, small)
    probe = p.probe.model_copy(update={"clips": 3, "times": [0.2, 0.8]})
    p = dataclasses.replace(p, probe=probe, bootstrap=50)
    dataset = Dataset(p, **features["sources"], teachers=p.teachers, targets=features["targets"])
    torch.manual_seed(0)
    backbone = build(p.model, p.mel.bands, vocabularies(p.tokens), noise_scale=p.flow.noise_scale).eval()
    bit_c = BiTC(backbone.width, dataset.teacher_widths())
    parts = {"backbone": backbone, "bit_c": bit_c}
    save_file({f"ema.{name}.{k}": v for name, part in parts.items() for k, v in part.named_parameters()}, tmp_path / "w")
    where = {"kind": "dit", "seed": "0", "warmup": tmp_path / "w"}
    run(p, **where, **features["sources"], targets=features["targets"], out=tmp_path / "lasp.json")
    written = read_json(tmp_path / "lasp.json")["domains"]
    for domain, first in (("speech", 0), ("audio", 1)):
        teacher = dataset.teacher_vectors[domain]
        mean = torch.cat([teacher[f"clip_{i}"] for i in range(first, 16, 2)]).mean(0)
        clips = [f"clip_{i}" for i in range(16 + first, 22, 2)]
        cosines = [F.cosine_similarity(mean, teacher[clip][0], dim=0).item() for clip in clips]
        assert written[domain]["floors"]["constant"] == pytest.approx(np.mean(cosines), abs=1e-6)
        shuffled = []
        for clip, other in zip(clips, clips[1:] + clips[:1], strict=True):
            batch = dataset.batch([clip])
            eps = clip_noise(batch, p.flow.noise_scale, p.seed, "probe")
            for time in probe.times:
                t = torch.tensor([time])
                place = Place(domain, 0, batch, eps, (1 - time) * eps + time * batch.mel, t)
                shuffled.append(lasp(backbone, bit_c, place, teacher[other])[:, 0])
        assert written[domain]["floors"]["shuffled"] == pytest.approx(torch.stack(shuffled).mean(0).tolist(), abs=1e-5)


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
