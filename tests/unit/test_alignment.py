"""Supervision: every kind of target, head, schedule and layers against a naive computation, clip by clip."""

import pytest
import torch
import torch.nn.functional as F

from agrepa.alignment import supervision
from agrepa.alignment.bit_c import BiTC
from agrepa.alignment.heads import conv2d
from agrepa.alignment.layers.frozen import Frozen
from agrepa.alignment.layers.refreshed import Refreshed
from agrepa.alignment.protocols import Course, OverTime
from agrepa.alignment.targets import average
from agrepa.alignment.targets.internal import partner
from agrepa.data.batch_sampler import pack
from agrepa.data.noise import clip_noise, draw
from agrepa.errors import ArtifactError, ParamsError
from agrepa.flow.path import interpolate
from agrepa.model.ablation import fog_a as fog_a_of
from agrepa.model.ablation import relative_change
from agrepa.model.backbone import build
from agrepa.params.stages import ArmSettings
from agrepa.seeding import generator

SELECTION = {"audio": ([2], [1.0]), "speech": ([1, 3], [0.75, 0.25])}
DEPTH, WIDTH = 4, 16


@pytest.fixture
def make(small, settings_of, dataset, stirred):
    """``make(head="conv", …)`` gives the settings of such an arm, its backbone and its supervision."""

    def build_arm(**kinds):
        rows = small.rows | {"ag_repa": small.rows["ag_repa"].model_copy(update=kinds)}
        p = settings_of(ArmSettings, small.model_copy(update={"rows": rows}), arm="ag_repa")
        torch.manual_seed(0)
        backbone = stirred(build(p.model, p.mel.bands, [14, 4], noise_scale=p.flow.noise_scale))
        return p, backbone, supervision.build(p, SELECTION, backbone, dataset)

    return build_arm


@pytest.fixture
def batch(dataset):
    return dataset.batch(["clip_0", "clip_1", "clip_2", "clip_3"])


def states_of(batch):
    torch.manual_seed(2)
    shape = (*batch.mask.shape, WIDTH)
    return {layer: torch.randn(shape, requires_grad=True) for layer in range(DEPTH + 1)}


def spatially_normalised(z):
    """Less 0.6 of the mean over frames, over the unbiased deviation, ``[T, D]``; one frame deviates by nothing."""
    deviation = z.std(0) if len(z) > 1 else torch.zeros(z.shape[1])
    return (z - 0.6 * z.mean(0)) / (deviation + 1e-6)


def frames_of_teacher(dataset, domain, clip, change=lambda z: z):
    """The teacher's frames at the centres of the mel frames, interpolated in seconds."""
    teacher, frames = dataset.teacher_frames[domain], dataset.mel.frames[clip]
    stored, rate = change(teacher[clip]), teacher.rate[clip]
    placed = []
    for j in range(frames):
        place = min(max((j + 0.5) / 62.5 * rate - 0.5, 0), len(stored) - 1)
        low = int(place)
        high = min(low + 1, len(stored) - 1)
        placed.append((1 - (place - low)) * stored[low] + (place - low) * stored[high])
    return torch.stack(placed)


def project(head, name, h):
    """A head on the valid frames of one clip, ``[T, D]``."""
    if name == "identity":
        return h
    if name == "mlp":
        hidden = F.silu(h @ head.mlp[0].weight.T + head.mlp[0].bias)
        return hidden @ head.mlp[2].weight.T + head.mlp[2].bias
    if name == "conv2d":
        grid = F.pad(spatially_normalised(h).view(len(h), 4, -1), (0, 0, 1, 1, 1, 1))
        kernel, bias = head.conv.weight, head.conv.bias

        def at(i, j):
            return sum(kernel[:, :, a, b] @ grid[i + a, j + b] for a in range(3) for b in range(3)) + bias

        return torch.stack([torch.cat([at(i, j) for j in range(4)])[: head.target_width] for i in range(len(h))])
    padded = F.pad(h, (0, 0, 1, 1))
    kernel = head.conv.weight
    return sum(padded[k : k + len(h)] @ kernel[:, :, k].T for k in range(3)) + head.conv.bias


POOLED = ("pooled", "internal_pooled")


def wanted(dataset, states, target, domain, clip, i, layer):
    """The target of a layer of the batch's i-th clip, ``[D_T]`` or at its frames."""
    deeper = states[partner(layer, DEPTH)][i, : dataset.mel.frames[clip]]
    return {
        "pooled": lambda: dataset.teacher_vectors[domain][clip][0],
        "frames": lambda: frames_of_teacher(dataset, domain, clip),
        "frames_standardised": lambda: frames_of_teacher(dataset, domain, clip, spatially_normalised),
        "internal": lambda: deeper,
        "internal_pooled": lambda: deeper.mean(0),
    }[target]()


def naive(term, dataset, batch, states, target, head, weight):
    total = 0.0
    for i, clip in enumerate(batch.ids):
        domain, frames = dataset.table.domain[clip], dataset.mel.frames[clip]
        for layer, share in zip(*SELECTION[domain], strict=True):
            h, module = states[layer][i, :frames], term.heads[f"{domain}_{layer}"]
            if target in POOLED:
                over_time = head in ("conv", "conv2d")
                h = project(module, head, h).mean(0) if over_time else project(module, head, h.mean(0))
            else:
                h = project(module, head, h)
            score = F.cosine_similarity(h, wanted(dataset, states, target, domain, clip, i, layer), dim=-1).mean()
            total = total + share * weight[i] * (1 - score) / len(batch.ids)
    return total


@pytest.mark.parametrize("head", ["mlp", "conv", "conv2d", "identity"])
@pytest.mark.parametrize("target", ["pooled", "frames", "frames_standardised", "internal", "internal_pooled"])
def test_every_target_and_head_equals_the_naive_computation(make, dataset, batch, target, head):
    if head == "identity" and not target.startswith("internal"):
        with pytest.raises(ParamsError, match=r"16 channels of the model with \d of the target"):
            make(target=target, head=head)
        return
    _, _, term = make(target=target, head=head)
    states, t = states_of(batch), torch.rand(4)
    loss = term(states, batch, 8, t)
    expected = naive(term, dataset, batch, states, target, head, torch.ones(4))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    with torch.no_grad():
        for state in states.values():
            state[~batch.mask] = 1e4
    assert term(states, batch, 8, t).item() == pytest.approx(loss.item(), rel=1e-4), "padding is seen"


@pytest.mark.parametrize("target", ["pooled", "frames", "frames_standardised", "internal", "internal_pooled"])
def test_gradient_reaches_the_supervised_layers_and_no_other(make, batch, target):
    _, _, term = make(target=target)
    states = states_of(batch)
    term(states, batch, 8, torch.rand(4)).backward()
    assert [layer for layer, state in states.items() if state.grad is not None and state.grad.abs().sum() > 0] == [1, 2, 3]


def test_the_gap_of_an_internal_target_scales_with_depth():
    assert [partner(3, 12), partner(7, 24), partner(8, 28)] == [7, 14, 16]
    assert partner(11, 12) == 12


def test_the_last_layer_has_no_deeper_one_and_no_refresh_selects_it(make):
    with pytest.raises(ArtifactError, match="layer 4 of 4 has no deeper layer"):
        partner(4, 4)
    for target in ("internal", "internal_pooled", "average"):
        _, backbone, term = make(target=target, refresh="refreshed", k=3)
        assert sorted(term.heads) == [f"{domain}_{layer}" for domain in ("audio", "speech") for layer in (1, 2, 3)]
        term.observe(12, backbone)
        assert all(sorted(layers) == [1, 2, 3] for layers, _ in term.layers(12).values())


def test_a_crop_of_standardised_frames_is_cut_out_of_the_whole_clip(make, dataset):
    _, _, term = make(target="frames_standardised")
    clip = next(c for c in dataset.table.id if dataset.table.domain[c] == "speech" and dataset.mel.frames[c] > 20)
    chosen = torch.ones(1, dtype=torch.bool)
    whole, crop = (dataset.batch([clip], windows=windows) for windows in (None, {clip: (5, 17)}))
    found = [term.target.of(batch, {}, "speech", 1, chosen)[0] for batch in (whole, crop)]
    assert torch.allclose(found[1], found[0][5:17], atol=1e-5)


def test_the_averages_deeper_layer_sees_the_same_draw_with_less_noise(make, dataset, batch, stirred):
    p, _, term = make(target="average")
    torch.manual_seed(5)
    mean = stirred(build(p.model, p.mel.bands, [14, 4], noise_scale=p.flow.noise_scale))
    term.course = Course(3, lambda: mean, lambda clips, step: draw(p, clips, 3, step))
    states, drawn = states_of(batch), draw(p, batch, 3, 8)
    loss = term(states, batch, 8, drawn.t)
    loss.backward()
    assert [layer for layer, state in states.items() if state.grad is not None and state.grad.abs().sum() > 0] == [1, 2, 3]
    assert all(weight.grad is None for weight in mean.parameters()), "no gradient reaches the average"
    expected = 0.0
    for i, clip in enumerate(batch.ids):
        u = torch.rand((), generator=generator(3, "ahead", 8, clip))
        later = torch.minimum(drawn.t + 0.2 * u, torch.tensor(1.0))
        assert (drawn.t <= later).all() and (later <= drawn.t + 0.2).all()
        t = later[i].expand(4)
        seen = {}
        with torch.no_grad():
            x = (1 - t)[:, None, None] * drawn.eps + t[:, None, None] * batch.mel
            mean(x, t, drawn.condition, batch.mask, states=seen)
        domain, frames = dataset.table.domain[clip], dataset.mel.frames[clip]
        for layer, share in zip(*SELECTION[domain], strict=True):
            projected = project(term.heads[f"{domain}_{layer}"], "mlp", states[layer][i, :frames])
            deeper = seen[min(layer + 2, DEPTH)][i, :frames]
            expected += share * (1 - F.cosine_similarity(projected, deeper, dim=1).mean()) / 4
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_gap_to_the_averages_layer_scales_with_depth():
    assert [average.partner(4, 12), average.partner(8, 24), average.partner(8, 28)] == [9, 18, 20]


def test_a_two_dimensional_head_needs_channels_that_can_be_cut(small):
    with pytest.raises(ParamsError, match="cuts the channels into 4 and the model has 18"):
        conv2d.build(small.model, 18, 8)


def test_frames_have_to_be_there(make, dataset):
    dataset.teacher_frames = {}
    with pytest.raises(ArtifactError, match="target 'frames' needs the teachers' frames"):
        make(target="frames")


def test_an_arm_without_layers_has_no_supervision(make, dataset):
    p, backbone, _ = make()
    assert supervision.build(p, {}, backbone, dataset) is None


def test_half_of_phase_two_is_supervised(make, batch):
    _, _, term = make(schedule="first_half")
    _, _, constant = make()
    states, t = states_of(batch), torch.rand(4)
    for step in (8, 9):
        assert term(states, batch, step, t).item() == constant(states, batch, step, t).item() > 0
    for step in (10, 11):
        assert term(states, batch, step, t).item() == 0
        assert not term(states, batch, step, t).requires_grad, "the heads are out of the update"


def test_a_schedule_may_weigh_each_clip_by_its_time(make, dataset, batch):
    _, _, term = make()
    term.schedule = lambda step, t: t * step
    states, t = states_of(batch), torch.tensor([0.1, 0.9, 0.4, 0.0])
    expected = naive(term, dataset, batch, states, "pooled", "mlp", 5 * t)
    assert term(states, batch, 5, t).item() == pytest.approx(expected.item(), rel=1e-5)


def test_supervision_towards_noise_weighs_twice_at_the_noise_and_not_at_the_clip(make, dataset, batch):
    _, _, term = make(schedule="noise_biased")
    states, t = states_of(batch), torch.tensor([0.0, 0.25, 0.5, 1.0])
    expected = naive(term, dataset, batch, states, "pooled", "mlp", torch.tensor([2.0, 1.5, 1.0, 0.0]))
    assert term(states, batch, 8, t).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_weight_may_change_over_t(make, dataset, batch):
    _, _, term = make()
    times = [0.2, 0.6]
    speech = [OverTime(times, [0.9, 0.1]), OverTime(times, [0.1, 0.9])]
    term.layers = Frozen({"audio": ([2], [OverTime(times, [1.0, 1.0])]), "speech": ([1, 3], speech)})
    states, t = states_of(batch), torch.tensor([0.0, 0.1, 0.5, 0.9])
    first = torch.tensor([0.9, 0.9, 0.3, 0.1])  # of layer 1, at each t
    assert torch.allclose(speech[0](t), first) and torch.allclose(speech[1](t), 1 - first)
    expected = 0.0
    for i, clip in enumerate(batch.ids):
        domain, frames = dataset.table.domain[clip], dataset.mel.frames[clip]
        for layer in SELECTION[domain][0]:
            share = {("audio", 2): 1.0, ("speech", 1): first[i], ("speech", 3): 1 - first[i]}[domain, layer]
            h = project(term.heads[f"{domain}_{layer}"], "mlp", states[layer][i, :frames].mean(0))
            expected += share * (1 - F.cosine_similarity(h, dataset.teacher_vectors[domain][clip][0], dim=0)) / 4
    assert term(states, batch, 8, t).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_heads_are_drawn_in_the_order_of_the_selection(make):
    _, _, term = make()
    assert list(term.heads) == ["audio_2", "speech_1", "speech_3"]
    _, _, refreshed = make(refresh="refreshed")
    assert len(refreshed.heads) == 2 * DEPTH


def test_a_refresh_selects_by_fog_a_of_the_model_it_is_given(make, dataset):
    p, backbone, term = make(refresh="refreshed", k=2)
    layers = term.layers
    assert isinstance(layers, Refreshed)
    assert term.observe(8, backbone) == {}, "the selection holds at the first step of Phase II"
    assert term.observe(10, backbone) == {}, "no refresh is due"
    assert layers(10) == SELECTION
    written = term.observe(12, backbone)
    for domain in ("speech", "audio"):
        table = dataset.table
        ids = list(table.id[(table.split == "validation") & (table.domain == domain)])
        while max(dataset.mel.frames[c] for c in ids) * len(ids) > p.training.batch_frames:
            ids.pop()
        batch, found = dataset.batch(ids), torch.zeros(DEPTH)
        eps = clip_noise(batch, p.flow.noise_scale, p.seed, "refresh")
        for time in p.training.validation_times:
            t = torch.full((len(ids),), time)
            arguments = interpolate(batch.mel, eps, t), t, batch.condition, batch.mask
            with torch.no_grad():
                full = backbone(*arguments)
                for k in range(DEPTH):
                    gates = torch.ones(DEPTH)
                    gates[k] = 0
                    found[k] += relative_change(backbone(*arguments, gates=gates), full, batch.mask, "l2").mean()
        best = found.argsort(descending=True)[:2]
        chosen, shares = layers(12)[domain]
        assert chosen == (best + 1).tolist()
        assert shares == pytest.approx((found[best] / found[best].sum()).tolist(), rel=1e-4)
        assert [written[f"weight_{domain}_{layer}"] for layer in chosen] == shares
    memory, remembered = layers.memory(), layers(12)
    _, _, other = make(refresh="refreshed", k=2)
    other.recall(memory)
    assert other.layers(12) == remembered


def test_a_refresh_measures_as_the_probe_does(small, settings_of, dataset, stirred):
    """With its norm and its denominator: squared norms order and weigh layers otherwise."""
    found = {}
    for norm in ("l2", "squared_l2"):
        for denominator in ("velocity", "network"):
            fog_a = small.probes.fog_a.model_copy(update={"norm": norm, "denominator": denominator})
            probes = small.probes.model_copy(update={"fog_a": fog_a})
            rows = small.rows | {"ag_repa": small.rows["ag_repa_refreshed"]}
            p = settings_of(ArmSettings, small.model_copy(update={"rows": rows, "probes": probes}), arm="ag_repa")
            torch.manual_seed(0)
            backbone = stirred(build(p.model, p.mel.bands, [14, 4], noise_scale=p.flow.noise_scale))
            layers = supervision.build(p, SELECTION, backbone, dataset).layers
            found[norm, denominator] = layers.scores("speech", backbone)
            ids = list(dataset.table.id[(dataset.table.split == "validation") & (dataset.table.domain == "speech")])
            batch = dataset.batch(pack(ids, dataset.mel.frames, p.training.batch_frames)[0])
            eps = clip_noise(batch, p.flow.noise_scale, p.seed, "refresh")
            scores = []
            for time in p.training.validation_times:
                t = torch.full((len(batch.ids),), time)
                x = interpolate(batch.mel, eps, t)
                scores.append(fog_a_of(backbone, x, t, batch.condition, batch.mask, norm, denominator).mean(1))
            assert found[norm, denominator] == pytest.approx(torch.stack(scores).mean(0).tolist(), rel=1e-4)
    assert len({tuple(scores) for scores in found.values()}) == 4


def test_a_refresh_needs_to_know_how_many_layers_to_select(make):
    with pytest.raises(ParamsError, match="the arm has no k"):
        make(refresh="refreshed", k=None)


def test_bit_c_score_is_the_cosine_of_the_projected_normalised_vector():
    head = BiTC(6, {"speech": 4, "audio": 3})
    pooled, teacher = torch.randn(2, 6), torch.randn(2, 3)
    centred = pooled - pooled.mean(1, keepdim=True)
    normal = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    projected = normal @ head.project["audio"].weight.T + head.project["audio"].bias
    expected = (projected * teacher).sum(1) / (projected.norm(dim=1) * teacher.norm(dim=1))
    assert torch.allclose(head.score(pooled, teacher, "audio"), expected, atol=1e-5)
