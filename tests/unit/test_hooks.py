"""FoG-A through hooks: the built-in probe's numbers on the DiT, Hugging Face models against cut ones, and what it refuses."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, Wav2Vec2Config, Wav2Vec2Model

from agrepa.model.ablation import fog_a as built_in
from agrepa.probes.hooks import fog_a, gated_off


def predict(net, batch):
    return net(*batch)


@pytest.fixture
def batches(inputs):
    """The three clips at two times."""
    x, t, c, mask = inputs
    return [(x, t, c, mask), (0.5 * x, 1 - t, c, mask)]


class Summed(nn.Module):
    """A block that returns the sum, in one of the ways that models do."""

    def __init__(self, inner, way):
        super().__init__()
        self.inner, self.way = inner, way

    def forward(self, h, c, mask):
        f = self.inner(h, c, mask)
        if self.way == "in place":
            return h.add_(f)
        return (h + f, "attention") if self.way == "tuple" else h + f


class Plain(nn.Module):
    """The DiT without gates: its blocks return sums."""

    def __init__(self, dit, way):
        super().__init__()
        self.dit, self.way = dit, way
        self.layers = nn.ModuleList(Summed(block, way) for block in dit.blocks)

    def forward(self, x, t, condition, mask):
        h, c, _ = self.dit.embed(x, t, condition, mask)
        for layer in self.layers:
            h = layer(h=h, c=c, mask=mask) if self.way == "by name" else layer(h, c, mask)
            h = h[0] if self.way == "tuple" else h
        return self.dit.readout(h, c)


@pytest.fixture
def expected(model, batches):
    """The built-in probe: scores ``[5, clips]``, the mean over both times."""
    return torch.stack([built_in(model, *batch) for batch in batches]).mean(0).numpy()


@pytest.mark.parametrize("way", ["sum", "in place", "tuple", "by name"])
def test_it_gives_the_numbers_of_the_built_in_probe(model, batches, expected, way):
    plain = Plain(model, way).eval()
    found = fog_a(plain, plain.layers, batches, predict, mask=lambda b: b[3], clips=lambda b: ["a", "b", "c"])
    assert found.score.to_numpy() == pytest.approx(expected.mean(1), rel=1e-4)
    assert found.block.tolist() == [f"layers.{i}" for i in range(5)]
    assert found.layer.tolist() == [1, 2, 3, 4, 5]
    assert found.clips.tolist() == [3] * 5
    assert found.sort_values("rank").score.is_monotonic_decreasing
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in plain.modules())


def test_blocks_that_return_the_residual_are_gated_to_zero(model, batches, expected):
    found = fog_a(model, model.blocks, batches, predict, mask=lambda b: b[3], returns="residual")
    assert found.score.to_numpy() == pytest.approx(expected.mean(1), rel=1e-4)
    assert found.clips.tolist() == [6] * 5


def test_intervals_resample_clips_and_not_their_times(model, batches, expected):
    given = {"mask": lambda b: b[3], "returns": "residual", "samples": 4000}
    found = fog_a(model, model.blocks, batches, predict, clips=lambda b: ["a", "b", "c"], **given)
    draws = np.array(np.meshgrid(*[range(3)] * 3)).reshape(3, -1)  # every sample that there is
    means = expected[:, draws].mean(1)
    assert found.low.to_numpy() == pytest.approx(np.percentile(means, 2.5, axis=1, method="inverted_cdf"), rel=1e-4)
    assert found.high.to_numpy() == pytest.approx(np.percentile(means, 97.5, axis=1, method="inverted_cdf"), rel=1e-4)
    assert (found.top_3_stability.between(0, 1)).all()
    assert found.top_3_stability.sum() == pytest.approx(3)
    again = fog_a(model, model.blocks, batches, predict, clips=lambda b: ["a", "b", "c"], **given)
    pd.testing.assert_frame_equal(found, again)


SIZE = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}


def bert():
    net = BertModel(BertConfig(vocab_size=20, **SIZE), add_pooling_layer=False)
    return net, net.encoder, "layer", torch.randint(0, 20, (4, 9))


def gpt2():
    net = GPT2Model(GPT2Config(vocab_size=20, n_embd=16, n_layer=3, n_head=2, n_positions=16))
    return net, net, "h", torch.randint(0, 20, (4, 9))


def wav2vec2():
    convolutions = {"conv_dim": (8, 8), "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2}
    net = Wav2Vec2Model(Wav2Vec2Config(num_conv_pos_embedding_groups=2, num_conv_pos_embeddings=8, **convolutions, **SIZE))
    return net, net.encoder, "layers", torch.randn(4, 400)


@pytest.mark.parametrize("make", [bert, gpt2, wav2vec2])
def test_a_hugging_face_model_is_scored_as_if_each_block_were_cut_out(make):
    torch.manual_seed(0)
    net, owner, name, batch = make()
    net.eval()
    blocks = getattr(owner, name)

    def velocity(model, given):
        return model(given).last_hidden_state

    found = fog_a(net, blocks, [batch[:2], batch[2:]], velocity)
    with torch.no_grad():
        full = velocity(net, batch)
        for layer in range(3):
            setattr(owner, name, nn.ModuleList(block for i, block in enumerate(blocks) if i != layer))
            change = (velocity(net, batch) - full).flatten(1).norm(dim=1) / full.flatten(1).norm(dim=1)
            assert found.score[layer] == pytest.approx(float(change.mean()), rel=1e-4)
    assert found.score.min() > 1e-3
    assert (found.low <= found.score).all() and (found.score <= found.high).all()


def test_what_it_cannot_measure_it_refuses(model, batches):
    plain = Plain(model, "sum").eval()

    def says(message, net=plain, blocks=plain.layers, given=batches, velocity=predict, **more):
        with pytest.raises(ValueError, match=message):
            fog_a(net, blocks, given, velocity, **more)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())

    says("in training mode, and its dropout would be measured: call model.eval", plain.train())
    plain.eval()
    says("block 2, a Linear, is no module of the model", blocks=[plain.layers[0], nn.Linear(2, 2)])
    says("block 1, dit, does not run for this prediction", blocks=[plain.dit])
    says(r"Linear makes \(3, 12, 24\) of \(3, 12, 44\), so it is no residual block", blocks=[plain.dit.proj_in])
    says("TokenEmbedding is given no tensor", blocks=[plain.dit.tokens])
    says("a batch and a block at least and was given 0 and 5", given=[])
    says(r"velocity gives \(3, 12\): ", velocity=lambda net, b: net(*b)[..., 0])
    says(r"velocity gives \(3, 12, 10\): it must give finite numbers", velocity=lambda net, b: net(*b) / 0)
    says("clips names 4 items and velocity predicts 6", clips=lambda b: ["a", "b"])
    nn.init.zeros_(plain.dit.proj_out.weight)
    says("no block changes the prediction: probe a trained checkpoint")


def test_a_block_is_as_it_was_afterwards(model, batches):
    plain = Plain(model, "sum").eval()
    with torch.no_grad():
        before = plain(*batches[0])
        with gated_off(plain.layers[1]) as runs:
            assert not torch.allclose(plain(*batches[0]), before, atol=1e-3)
        assert runs == [1]
        assert torch.equal(plain(*batches[0]), before)


def test_the_printed_example_runs(root, capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```", (root / "docs" / "fog-a-on-your-model.md").read_text(), re.M | re.S)
    names = {"__name__": "example"}
    torch.manual_seed(0)
    exec(compile(example, "example", "exec"), names)
    scores = names["scores"]
    assert len(scores) == 6
    assert scores.clips.tolist() == [8] * 6
    assert scores.score.min() > 0
    assert "trunk.encoder.layer.5" in capsys.readouterr().out
