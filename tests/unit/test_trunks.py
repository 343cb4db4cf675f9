"""The backbones beside the DiT: gates, masks, states, skips, gradients, each against what its definition says."""

import pytest
import torch

from agrepa import params
from agrepa.errors import ParamsError
from agrepa.model.ablation import fog_a, relative_change
from agrepa.model.backbone import Backbone, build
from agrepa.model.conditioning import Condition, sinusoid
from agrepa.model.dit import DiT
from agrepa.model.front import ConvNeXt
from agrepa.params.model import Model
from agrepa.probes.controls import mean_of_frames, update_size

BANDS, VOCABULARIES, LENGTHS = 10, [11, 7], [12, 9, 5]
TRUNKS = [("uvit", 5), ("uvit", 6), ("f5", 5), ("unet1d", 5), ("unet1d", 6)]


@pytest.fixture(params=TRUNKS, ids=lambda trunk: f"{trunk[0]}-{trunk[1]}")
def trunk(request, sizes, stirred):
    """A backbone of each kind whose weights do something."""
    kind, depth = request.param
    return made(sizes, stirred, kind=kind, depth=depth)


def made(sizes, stirred, **changes):
    torch.manual_seed(0)
    return stirred(build(Model.model_validate(sizes | changes), BANDS, VOCABULARIES, noise_scale=0.5))


def without(network, layer, inputs):
    """The velocity when the unit of a layer is made to give zeros, whatever gates are."""
    hook = network.unit(layer).register_forward_hook(lambda _unit, _given, f: torch.zeros_like(f))
    with torch.no_grad():
        velocity = network(*inputs)
    hook.remove()
    return velocity


@torch.no_grad()
def test_gates_of_one_change_nothing_at_all(trunk, inputs):
    assert torch.equal(trunk(*inputs, gates=torch.ones(trunk.depth)), trunk(*inputs))


@torch.no_grad()
def test_fog_a_is_what_a_network_with_a_silenced_unit_says(trunk, inputs):
    full, mask = trunk(*inputs), inputs[3]
    found = fog_a(trunk, *inputs)
    for layer in range(1, trunk.depth + 1):
        silenced = without(trunk, layer, inputs)
        gates = torch.ones(trunk.depth)
        gates[layer - 1] = 0
        assert torch.allclose(trunk(*inputs, gates=gates)[mask], silenced[mask], atol=1e-6)
        assert torch.allclose(found[layer - 1], relative_change(silenced, full, mask, "l2"), rtol=1e-3)
        assert float(found[layer - 1].min()) > 1e-3


@torch.no_grad()
def test_the_short_way_to_the_gated_velocities_gives_those_of_the_definition(trunk, inputs):
    for replace in (None, torch.zeros_like):
        short, defined = list(trunk.ablated(*inputs, replace)), list(Backbone.ablated(trunk, *inputs))
        assert len(short) == len(defined) == trunk.depth + 1
        for fast, slow in zip(short, defined, strict=True):
            assert torch.allclose(fast[inputs[3]], slow[inputs[3]], atol=1e-5)
    mean, off = fog_a(trunk, *inputs, replace=mean_of_frames(inputs[3])), fog_a(trunk, *inputs)
    assert torch.isfinite(mean).all()
    assert not torch.allclose(mean, off, rtol=0.05)


@torch.no_grad()
def test_a_mean_ablated_layer_writes_its_mean_to_the_time_s_frame_as_well(sizes, stirred, inputs):
    network, mask = made(sizes, stirred, kind="uvit"), inputs[3]
    found = list(network.ablated(*inputs, mean_of_frames(mask)))

    def averaged(_unit, _given, f):
        frames = torch.cat([f[i, 1 : length + 1] for i, length in enumerate(LENGTHS)]).mean(0)
        time = sum(length * f[i, 0] for i, length in enumerate(LENGTHS)) / sum(LENGTHS)
        return torch.cat([time.expand(3, 1, 24), frames.expand(3, 12, 24)], 1)

    for layer in range(1, 6):
        hook = network.unit(layer).register_forward_hook(averaged)
        assert torch.allclose(found[layer][mask], network(*inputs)[mask], atol=1e-5)
        hook.remove()


@torch.no_grad()
def test_updates_are_the_difference_that_a_gate_makes_to_its_own_layer(trunk, inputs):
    states, sizes = {}, update_size(trunk, *inputs)
    trunk(*inputs, states=states)
    for layer in range(1, trunk.depth + 1):
        gates, gated = torch.ones(trunk.depth), {}
        gates[layer - 1] = 0
        trunk(*inputs, gates=gates, states=gated)
        for i, length in enumerate(LENGTHS):
            base = gated[layer][i, :length]
            expected = (states[layer][i, :length] - base).norm() / base.norm()
            assert float(sizes[layer - 1, i]) == pytest.approx(float(expected), rel=1e-3)


def test_a_preconditioned_trunk_gives_its_network_s_updates(sizes, stirred, inputs):
    whole = made(sizes, stirred, kind="uvit", preconditioned=True)
    assert torch.equal(update_size(whole, *inputs), update_size(whole.network, *inputs))


@torch.no_grad()
def test_a_clip_does_not_depend_on_its_batch_or_padding(trunk, inputs):
    x, t, c, mask = inputs
    kept, together = {}, trunk(x, t, c, mask)
    garbage = x.clone()
    garbage[~mask] = 100.0
    assert torch.allclose(trunk(garbage, t, c, mask, states=kept)[mask], together[mask], atol=1e-5)
    for i, length in enumerate(LENGTHS):
        one, states = slice(i, i + 1), {}
        alone = Condition(c.tokens[one], c.positions[one, :length], c.reference[one, :length], c.dropped[one])
        single = trunk(x[one, :length], t[one], alone, mask[one, :length], states=states)
        assert torch.allclose(single[0], together[i, :length], atol=1e-5)
        for layer, h in states.items():
            assert torch.allclose(h[0], kept[layer][i, :length], atol=1e-4)


@torch.no_grad()
def test_states_are_those_of_all_layers_at_mel_frames(trunk, inputs):
    states = {}
    assert torch.equal(trunk(*inputs, states=states), trunk(*inputs))
    assert sorted(states) == list(range(trunk.depth + 1))
    assert {h.shape for h in states.values()} == {(3, 12, 24)}
    assert len(trunk.kinds) == trunk.depth


def test_gradients_reach_every_parameter_and_units_share_none(trunk, inputs):
    trunk(*inputs)[inputs[3]].square().sum().backward()
    silent = [name for name, w in trunk.named_parameters() if w.grad is None or not w.grad.abs().sum() > 0]
    assert not silent
    units = [id(w) for layer in range(1, trunk.depth + 1) for w in trunk.unit(layer).parameters()]
    assert len(units) == len(set(units))


@pytest.mark.parametrize(("kind", "depth"), TRUNKS)
def test_an_untrained_trunk_predicts_zero_and_a_few_steps_lower_its_loss(sizes, inputs, kind, depth):
    torch.manual_seed(0)
    network = build(Model.model_validate(sizes | {"kind": kind, "depth": depth, "dropout": 0.0}), BANDS, VOCABULARIES)
    assert torch.equal(network(*inputs), torch.zeros(3, 12, BANDS))
    optimizer, (x, _, _, mask) = torch.optim.Adam(network.parameters(), 3e-3), inputs
    target, losses = x.roll(1, -1).cumsum(1) / 3, []
    for _ in range(40):
        loss = (network(*inputs) - target)[mask].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@torch.no_grad()
@pytest.mark.parametrize("depth", [2, 5, 6])
def test_a_later_layer_reads_what_entered_its_partner(sizes, stirred, inputs, depth):
    x, t, c, mask = inputs
    network = made(sizes, stirred, kind="uvit", depth=depth)
    h, time, _ = network.embed(x, t, c, mask)
    h, seen, stack, expected = torch.cat([time[:, None], h], 1), torch.cat([mask[:, :1], mask], 1), [], []
    for layer in range(depth):
        if layer < depth // 2:
            stack.append(h)
        if layer >= depth - depth // 2:
            h = network.skips[len(stack) - 1](torch.cat([h, stack.pop()], -1))
        block = network.blocks[layer]
        h = h + block.attend(block.norm_attention(h), seen)
        h = h + block.feed_forward(block.norm_feed_forward(h))
        expected.append(h[:, 1:])
    states = {}
    assert torch.allclose(network(*inputs, states=states), network.proj_out(network.norm(expected[-1])), atol=1e-5)
    for layer, state in enumerate(expected, 1):
        assert torch.allclose(states[layer], state, atol=1e-5)


def test_a_front_of_its_own_and_two_grouped_convolutions_are_all_that_f5_has_beside_a_dit(sizes, stirred, inputs, model):
    x, t, c, mask = inputs
    network = made(sizes, stirred, kind="f5")
    assert isinstance(network, DiT)
    assert any(isinstance(part, ConvNeXt) for part in network.modules())
    mine, theirs = ({name for name, _ in one.named_parameters()} for one in (network, model))
    assert {name.split(".")[0] for name in mine ^ theirs} == {"local"}
    with torch.no_grad():
        interface = network.front(network.tokens(c) + sinusoid(torch.arange(12), 24), mask)
        h = network.proj_in(torch.cat([x, interface, c.reference], -1)) * mask[..., None]
        inner = h.transpose(1, 2)
        for convolution in network.local.convolutions:
            inner = torch.nn.functional.mish(convolution(inner)) * mask[:, None]
        found, time, kept = network.embed(x, t, c, mask)
        assert torch.equal(kept, interface)
        assert torch.allclose(found, h + inner.transpose(1, 2), atol=1e-6)
        for block in network.blocks:
            found = found + block(found, time, mask)
        assert torch.equal(network.readout(found, time), network(*inputs))


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 7, 12])
def test_a_u_net_is_the_chain_of_its_parts_at_any_length(sizes, stirred, inputs, length):
    x, t, c, mask = (inputs[0][:1, :length], inputs[1][:1], inputs[2], inputs[3][:1, :length])
    c = Condition(c.tokens[:1], c.positions[:1, :length], c.reference[:1, :length], c.dropped[:1])
    network = made(sizes, stirred, kind="unet1d", depth=6)
    for part in (network.last, *(block for stage in network.stages for block in (stage.first, stage.second))):
        part.weight.normal_()
        part.bias.normal_()

    def convolved(block, h):
        norm = torch.nn.functional.group_norm(block.conv(h), 8, block.weight, block.bias)
        return torch.nn.functional.mish(norm)

    def stage(number, h):
        part = network.stages[number]
        inner = convolved(part.first, h) + part.time(torch.nn.functional.mish(time))[..., None]
        h = convolved(part.second, inner) + network.shortcuts[number](h.transpose(1, 2)).transpose(1, 2)
        block, h = part.transformer, h.transpose(1, 2)
        everywhere = torch.ones(1, h.shape[1], dtype=torch.bool)
        h = h + block.attend(block.norm_attention(h), everywhere)
        return (h + block.feed_forward(block.norm_feed_forward(h))).transpose(1, 2)

    h, time, _ = network.embed(x, t, c, mask)
    first = stage(0, h.transpose(1, 2))
    second = stage(1, network.to_half_rate(first))
    assert second.shape[-1] == (length + 1) // 2
    h = stage(3, stage(2, network.leave_down(second)))
    h = network.to_full_rate(stage(4, torch.cat([h, second], 1)))[..., :length]
    h = network.leave_up(stage(5, torch.cat([h, first], 1)))
    expected = network.proj_out(convolved(network.last, h).transpose(1, 2))
    states = {}
    assert torch.allclose(network(x, t, c, mask, states=states), expected, atol=1e-4)
    assert torch.allclose(states[2][0], second[0].T.repeat_interleave(2, 0)[:length], atol=1e-4)
    assert network.kinds == ["down", "down", "middle", "middle", "up", "up"]


def test_a_module_whose_network_has_no_gates_is_named(sizes, monkeypatch):
    plain = torch.nn.Linear(2, 2)
    monkeypatch.setattr("agrepa.model.f5.build", lambda settings, bands, vocabularies: plain)
    with pytest.raises(ParamsError, match=r"model\.kind: agrepa/model/f5\.py builds a Linear, whose layers have no gates: "):
        build(Model.model_validate(sizes | {"kind": "f5"}), BANDS, VOCABULARIES)


def test_the_shipped_experiment_takes_every_trunk_by_its_name(demo):
    for kind, _ in TRUNKS:
        data = demo.model_dump(mode="json")
        data["model"]["kind"] = kind
        assert params.Experiment.model_validate(data).model.kind == kind
