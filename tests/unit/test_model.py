"""The DiT: masks, tokens, gates."""

import numpy as np
import pytest
import torch

from agrepa.errors import ParamsError
from agrepa.flow.preconditioning import coefficients
from agrepa.model.backbone import build
from agrepa.model.conditioning import Condition, frame_positions
from agrepa.model.dit import DiT
from agrepa.model.front import Front
from agrepa.params import model as schema
from agrepa.params.model import Model


def test_an_untrained_model_predicts_zero(make_condition, sizes):
    fresh = DiT(Model.model_validate(sizes), 10, [11, 7])
    c = make_condition([4], [3], 4)
    out = fresh(torch.randn(1, 4, 10), torch.tensor([0.3]), c, torch.ones(1, 4, dtype=torch.bool))
    assert torch.equal(out, torch.zeros(1, 4, 10))


def test_gate_one_is_the_identity_and_gate_zero_skips_the_block(model, inputs):
    x, t, c, mask = inputs
    plain = model(x, t, c, mask)
    assert torch.equal(model(x, t, c, mask, gates=torch.ones(5)), plain)
    gates = torch.ones(5)
    gates[2] = 0
    gated = model(x, t, c, mask, gates=gates)
    del model.blocks[2]
    assert torch.allclose(gated, model(x, t, c, mask), atol=1e-6)
    assert not torch.allclose(gated, plain, atol=1e-3)


def test_a_clip_does_not_depend_on_its_batch_or_padding(model, inputs):
    x, t, c, mask = inputs
    together = model(x, t, c, mask)
    garbage = x.clone()
    garbage[~mask] = 100.0
    assert torch.allclose(model(garbage, t, c, mask)[mask], together[mask], atol=1e-5)
    for i, length in enumerate([12, 9, 5]):
        alone = Condition(
            c.tokens[i : i + 1], c.positions[i : i + 1, :length], c.reference[i : i + 1, :length], c.dropped[i : i + 1]
        )
        single = model(x[i : i + 1, :length], t[i : i + 1], alone, mask[i : i + 1, :length])
        assert torch.allclose(single[0], together[i, :length], atol=1e-5)


def test_token_zero_is_a_token_and_padding_is_not(model, inputs):
    x, t, c, mask = inputs
    base = model(x, t, c, mask)

    def with_first_token(value):
        tokens = c.tokens.clone()
        tokens[:, 0, 0] = value
        return model(x, t, Condition(tokens, c.positions, c.reference, c.dropped), mask)

    assert (c.tokens[:, 0, 0] == 0).all()
    assert not torch.allclose(with_first_token(-1), base, atol=1e-4), "id 0 is treated like padding"
    assert not torch.allclose(with_first_token(1), base, atol=1e-4)


def test_gradients_reach_every_embedding_that_is_used(model, inputs):
    x, t, c, mask = inputs
    model(x, t, c, mask)[mask].square().sum().backward()
    for stream, table in enumerate(model.tokens.tables):
        used = set(c.tokens[..., stream][c.tokens[..., stream] >= 0].tolist())
        moved = set(table.weight.grad.abs().sum(1).nonzero().flatten().tolist())
        assert used <= moved


def test_dropped_tokens_are_hidden_and_the_reference_is_not(model, inputs):
    x, t, c, mask = inputs
    shown = Condition(c.tokens, c.positions, x, c.dropped)
    assert not torch.allclose(model(x, t, shown.without_tokens(), mask)[mask], model(x, t, c.without_tokens(), mask)[mask])
    other = Condition((c.tokens + 3) % 7, c.positions, c.reference, c.dropped)
    assert torch.equal(model(x, t, c.without_tokens(), mask)[mask], model(x, t, other.without_tokens(), mask)[mask])
    assert not torch.allclose(model(x, t, c, mask)[mask], model(x, t, other, mask)[mask], atol=1e-4)


def test_both_streams_matter(model, inputs):
    x, t, c, mask = inputs
    tokens = c.tokens.clone()
    tokens[..., 1] = (tokens[..., 1] + 1).clamp(max=6)
    assert not torch.allclose(
        model(x, t, Condition(tokens, c.positions, c.reference, c.dropped), mask), model(x, t, c, mask), atol=1e-4
    )


def test_kept_states_are_the_layers_counted_from_one(model, inputs):
    x, t, c, mask = inputs
    states = {}
    out = model(x, t, c, mask, states=states)
    h, time, interface = model.embed(x, t, c, mask)
    assert torch.equal(states[0], interface)
    assert torch.allclose(states[1], h + model.blocks[0](h, time, mask))
    assert torch.equal(model.readout(states[5], time), out)


@pytest.mark.parametrize("firsts", [(None, None), (0.0, None), (0.058, 0.0)])
@pytest.mark.parametrize(("frame_rate", "token_rate"), [(62.5, 50.0), (62.5, 12.5), (50.0, 100.0)])
def test_frame_positions_are_linear_interpolation_in_seconds(frame_rate, token_rate, firsts):
    frames, tokens = 40, max(int(40 / frame_rate * token_rate), 1)
    first, frame_first = firsts[0], firsts[1]
    first = 0.5 / token_rate if first is None else first
    frame_first = 0.5 / frame_rate if frame_first is None else frame_first
    token_times, frame_times = first + np.arange(tokens) / token_rate, frame_first + np.arange(frames) / frame_rate
    expected = np.interp(frame_times, token_times, np.arange(tokens))
    assert np.allclose(frame_positions(frames, frame_rate, tokens, token_rate, *firsts).numpy(), expected, atol=1e-5)


def test_a_front_of_no_blocks_changes_nothing_and_has_no_weights():
    front, h = Front(schema.Front(blocks=0, kernel=7, expansion=3), 8), torch.randn(2, 5, 8)
    assert front(h, torch.ones(2, 5, dtype=torch.bool)) is h
    assert not list(front.parameters())


def test_a_front_equals_its_formula_and_sees_no_padding():
    torch.manual_seed(0)
    front = Front(schema.Front(blocks=2, kernel=3, expansion=2), 8)
    for block in front.blocks:
        torch.nn.init.normal_(block.scale)
        torch.nn.init.normal_(block.shift)
    h, mask = torch.randn(2, 6, 8), torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    found = front(h, mask)
    assert (found[1, 4:] == 0).all()
    for i, length in enumerate((6, 4)):
        x = h[i, :length]
        for block in front.blocks:
            padded = torch.cat([torch.zeros(1, 8), x, torch.zeros(1, 8)])
            weight = block.conv.weight[:, 0]
            mixed = torch.stack([(padded[j : j + 3].T * weight).sum(1) for j in range(length)]) + block.conv.bias
            inner = torch.nn.functional.gelu(block.expand(torch.nn.functional.layer_norm(mixed, (8,), eps=1e-6)))
            size = inner.square().sum(0).sqrt()
            x = x + block.reduce(inner + block.scale * inner * size / size.mean() + block.shift)
        assert torch.allclose(found[i, :length], x, atol=1e-4)


def test_a_preconditioned_model_begins_as_the_best_linear_guess_and_adds_the_network(sizes, inputs, stirred):
    settings = Model.model_validate(sizes | {"preconditioned": True})
    model, (x, t, c, mask) = build(settings, 10, [11, 7], noise_scale=0.5).eval(), inputs
    skip, out = (value[:, None, None] for value in coefficients(t, 0.5))
    assert torch.equal(model(x, t, c, mask), skip * x)
    stirred(model)
    states, gates = {}, torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])
    found = model(x, t, c, mask, gates=gates, states=states)
    assert torch.allclose(found, skip * x + out * model.network(x, t, c, mask, gates=gates))
    assert sorted(states) == [0, 1, 2, 3, 4, 5]
    assert torch.allclose(list(model.ablated(x, t, c, mask))[2][mask], found[mask], atol=1e-5)
    assert torch.equal(model.given(x, t), skip * x)
    assert model.tokens is model.network.tokens and model.unit(2) is model.network.blocks[1]
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == len(set(names)) == len(model.state_dict())
    with pytest.raises(ParamsError, match=r"flow\.noise_scale"):
        build(settings, 10, [11, 7])
