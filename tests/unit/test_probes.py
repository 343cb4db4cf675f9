"""Probes: gradient norm against autograd, LASP against its definition, and the summary of scores."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from agrepa.alignment.bit_c import BiTC
from agrepa.data.collate import Batch
from agrepa.flow.loss import flow_matching_loss
from agrepa.flow.path import velocity
from agrepa.probes.gradient_norm import gradient_norm
from agrepa.probes.lasp import lasp
from agrepa.probes.measurement import Place, Scores, summarise


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
