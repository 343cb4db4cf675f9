"""Backbones: FoG-A of any of them against its definition, and a second one that goes through the whole method."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

import agrepa.model
from agrepa import selection
from agrepa.artifacts.files import read_json
from agrepa.data.dataset import Dataset
from agrepa.evaluation.synthesis import sample
from agrepa.job import State
from agrepa.model.ablation import fog_a, relative_change
from agrepa.model.backbone import Backbone, Preconditioned, build, pool
from agrepa.params.stages import ArmSettings, FogASettings, FogATrendSettings, SelectSettings, WarmupSettings
from agrepa.probes import fog_a as probe
from agrepa.probes import fog_a_trend
from agrepa.probes.controls import mean_of_frames, update_size
from agrepa.tokens.sequence import vocabularies
from agrepa.training import arm, warmup
from agrepa.training.checkpoint import load_average

# Two lines of blocks: one goes down and pushes its states, one goes up and pops them, as in a U-shaped network.
TWO_LINES = """
import torch
from torch import nn

from agrepa.model.backbone import Backbone
from agrepa.model.conditioning import TimeEmbedding, TokenEmbedding


class TwoLines(Backbone):
    def __init__(self, settings, bands, vocabularies):
        super().__init__()
        width, half = settings.width, settings.depth // 2
        self.depth, self.width, self.kinds = 2 * half, width, ["down"] * half + ["up"] * half
        self.tokens, self.time = TokenEmbedding(vocabularies, settings.token_width, width), TimeEmbedding(width)
        self.proj_in, self.proj_out = nn.Linear(2 * bands + width, width), nn.Linear(width, bands)
        self.down = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.SiLU()) for _ in range(half))
        self.up = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.SiLU()) for _ in range(half))
        self.skips = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(half))

    def unit(self, layer):
        return [*self.down, *self.up][layer - 1]

    def forward(self, x, t, condition, mask, *, gates=None, states=None):
        gates = torch.ones(self.depth) if gates is None else gates
        states = {} if states is None else states
        states[0] = self.tokens(condition)
        h = self.proj_in(torch.cat([x, states[0], condition.reference], -1)) + self.time(t)[:, None]
        stack = []
        for layer, block in enumerate(self.down, 1):
            stack.append(h)
            states[layer] = h = h + gates[layer - 1] * block(h)
        for layer, (block, skip) in enumerate(zip(self.up, self.skips), len(self.down) + 1):
            h = skip(torch.cat([h, stack.pop()], -1))
            states[layer] = h = h + gates[layer - 1] * block(h)
        return self.proj_out(h)


def build(settings, bands, vocabularies):
    return TwoLines(settings, bands, vocabularies)
"""


@pytest.mark.parametrize("norm", ["l2", "squared_l2"])
def test_fog_a_equals_the_naive_definition(model, inputs, norm):
    x, t, c, mask = inputs
    fast = fog_a(model, x, t, c, mask, norm)
    for k in range(5):
        gates = torch.ones(5)
        gates[k] = 0
        with torch.no_grad():
            full, gated = model(x, t, c, mask), model(x, t, c, mask, gates=gates)
        for i, length in enumerate([12, 9, 5]):
            change, size = (gated - full)[i, :length].norm(), full[i, :length].norm()
            naive = change / size if norm == "l2" else change**2 / size**2
            assert float(fast[k, i]) == pytest.approx(float(naive), rel=1e-4)


def test_shared_prefixes_give_the_velocities_of_the_definition(model, inputs):
    with torch.no_grad():
        shared, defined = list(model.ablated(*inputs)), list(Backbone.ablated(model, *inputs))
    assert len(shared) == len(defined) == model.depth + 1
    for fast, slow in zip(shared, defined, strict=True):
        assert torch.allclose(fast[inputs[3]], slow[inputs[3]], atol=1e-6)


def test_fog_a_runs_at_most_six_tenths_of_the_blocks_of_the_definition(model, inputs):
    calls = []
    for block in model.blocks:
        block.register_forward_hook(lambda *_: calls.append(1))
    fog_a(model, *inputs)
    assert len(calls) == model.depth * (model.depth + 1) // 2
    assert len(calls) <= 0.6 * model.depth * (model.depth + 1)


def test_relative_change_by_hand():
    full, gated = torch.tensor([[[3.0, 4.0], [9.0, 9.0]]]), torch.tensor([[[3.0, 1.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, False]])
    assert float(relative_change(gated, full, mask, "l2")) == pytest.approx(3 / 5)
    assert float(relative_change(gated, full, mask, "squared_l2")) == pytest.approx(9 / 25)


def test_fog_a_of_a_preconditioned_model_is_over_the_velocity_or_over_the_network_alone(model, inputs):
    whole = Preconditioned(model, 0.5).eval()
    assert torch.allclose(fog_a(whole, *inputs, denominator="network"), fog_a(model, *inputs), rtol=1e-4)
    with torch.no_grad():
        full, *gated = whole.ablated(*inputs)
    expected = torch.stack([relative_change(one, full, inputs[3], "l2") for one in gated])
    found = fog_a(whole, *inputs)
    assert torch.allclose(found, expected)
    assert not torch.allclose(found, fog_a(model, *inputs), rtol=0.05)
    assert torch.equal(fog_a(model, *inputs, denominator="network"), fog_a(model, *inputs)), "all of it is the network's"


def test_pooling_ignores_padding():
    h, mask = torch.ones(1, 4, 2), torch.tensor([[True, True, False, False]])
    h[:, 2:] = 99
    assert pool(h, mask).tolist() == [[1.0, 1.0]]


def test_units_share_no_parameter_and_each_layer_has_a_kind(model):
    found = [id(w) for layer in range(1, model.depth + 1) for w in model.unit(layer).parameters()]
    assert len(found) == len(set(found)) == sum(1 for _ in model.blocks.parameters())
    assert len(model.kinds) == model.depth


def test_no_other_room_names_a_backbone(root):
    package = root / "src" / "agrepa"
    kinds = [
        path.stem for path in (package / "model").glob("*.py") if "\ndef build(" in path.read_text() and path.stem != "backbone"
    ]
    assert "dit" in kinds
    for path in package.rglob("*.py"):
        words = path.read_text().lower().replace(".", " ").replace('"', " ").split()
        assert path.parent.name == "model" or not set(kinds) & set(words), path


@pytest.fixture
def two_lines(tmp_path, monkeypatch, small):
    """The small experiment on a backbone that is one more module of the room, and nothing else."""
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "two_lines.py").write_text(TWO_LINES)
    monkeypatch.setattr(agrepa.model, "__path__", [*agrepa.model.__path__, str(tmp_path / "room")])
    yield small.model_copy(update={"model": small.model.model_copy(update={"kind": "two_lines"})})
    sys.modules.pop("agrepa.model.two_lines", None)


def test_a_second_backbone_goes_through_the_whole_method(two_lines, settings_of, features, codebooks, tmp_path):
    sources, targets = features["sources"], features["targets"]
    probes = two_lines.probes.model_copy(
        update={"fog_a": two_lines.probes.fog_a.model_copy(update={"clips": 3, "trend_clips": 3})}
    )
    experiment = two_lines.model_copy(update={"probes": probes})
    p = settings_of(WarmupSettings, experiment)
    start, snapshots = tmp_path / "warmup.safetensors", tmp_path / "snapshots"
    made = {
        "checkpoint": start,
        "log": tmp_path / "log.parquet",
        "validation": tmp_path / "losses.parquet",
        "snapshots": snapshots,
    }
    warmup.run(
        p,
        kind="two_lines",
        seed="0",
        **sources,
        codebooks=codebooks,
        targets=targets,
        state=State(tmp_path / "state", "1"),
        **made,
    )

    measured = tmp_path / "fog_a.json"
    probe.run(settings_of(FogASettings, experiment), kind="two_lines", seed="0", warmup=start, **sources, out=measured)
    speech = read_json(measured)["domains"]["speech"]
    scores, controls = speech["score"], speech["controls"]
    for numbers in (scores, controls["update_size"]["score"], controls["mean_ablation"]["score"]):
        assert len(numbers) == 4
        assert min(numbers) > 0
    assert controls["times"] == experiment.probes.fog_a.control_times
    same = [np.mean([line[speech["times"].index(t)] for t in controls["times"]]) for line in speech["by_time"]]
    expected = spearmanr(same, controls["mean_ablation"]["score"]).statistic
    found = {tuple(pair["between"]): pair["value"] for pair in controls["correlations"]}
    assert found["fog_a", "mean_ablation"] == pytest.approx(expected)
    trend = settings_of(FogATrendSettings, experiment)
    fog_a_trend.run(trend, kind="two_lines", seed="0", snapshots=snapshots, **sources, out=tmp_path / "trend.parquet")
    trended = pd.read_parquet(tmp_path / "trend.parquet")
    assert sorted(trended.step.unique()) == [4, 8]
    audio = trended[trended.domain == "audio"].set_index("step")
    expected = spearmanr(audio.score[4], audio.score[8]).statistic
    assert audio.rank_correlation[8].tolist() == pytest.approx([expected] * 4)
    assert audio.rank_correlation[4].isna().all()

    chosen, trained = tmp_path / "selection.json", tmp_path / "arm.safetensors"
    selection.run(settings_of(SelectSettings, experiment, arm="ag_repa"), arm="ag_repa", seed="0", probe=[measured], out=chosen)
    arm.run(
        settings_of(ArmSettings, experiment, arm="ag_repa"),
        arm="ag_repa",
        seed="0",
        warmup=[start],
        codebooks=[],
        selection=chosen,
        **sources,
        targets=targets,
        features=[],
        state=State(tmp_path / "arm", "1"),
        checkpoint=trained,
        log=tmp_path / "arm.parquet",
        validation=tmp_path / "arm-losses.parquet",
    )
    dataset = Dataset(p, **sources)
    network = build(p.model, p.mel.bands, vocabularies(p.tokens), noise_scale=p.flow.noise_scale)
    assert network.kinds == ["down", "down", "up", "up"]
    batch = dataset.batch(dataset.first("validation", "speech", 2))
    mel = sample(load_average(trained, network, "backbone."), batch, torch.randn_like(batch.mel), experiment.evaluation.sampling)
    assert mel.shape == batch.mel.shape
    assert torch.isfinite(mel).all()


def test_a_backbone_without_a_short_cut_is_ablated_by_its_definition(two_lines, settings_of, features):
    p = settings_of(WarmupSettings, two_lines)
    plain = p.model.model_copy(update={"preconditioned": False})
    network = build(plain, p.mel.bands, vocabularies(p.tokens)).eval()
    batch = Dataset(p, **features["sources"]).batch(["clip_16", "clip_18"])
    arguments = batch.mel, torch.tensor([0.3, 0.7]), batch.condition, batch.mask
    found = fog_a(network, *arguments)
    with torch.no_grad():
        network.down[1].forward = lambda h: torch.zeros_like(h)
        without = network(*arguments)
        del network.down[1].forward
        expected = relative_change(without, network(*arguments), batch.mask, "l2")
    assert torch.allclose(found[1], expected, atol=1e-6)


def frames(lengths, f):
    """The valid frames of all clips, one after another."""
    return torch.cat([f[i, :length] for i, length in enumerate(lengths)])


@torch.no_grad()
def test_a_mean_ablated_layer_adds_the_mean_of_what_it_adds(model, inputs):
    x, t, c, mask = inputs
    found = fog_a(model, *inputs, replace=mean_of_frames(mask))
    for k in range(5):
        h, time, _ = model.embed(x, t, c, mask)
        for layer, block in enumerate(model.blocks):
            f = block(h, time, mask)
            h = h + (frames([12, 9, 5], f).mean(0) if layer == k else f)
        full, gated = model(*inputs), model.readout(h, time)
        for i, length in enumerate([12, 9, 5]):
            naive = (gated - full)[i, :length].norm() / full[i, :length].norm()
            assert float(found[k, i]) == pytest.approx(float(naive), rel=1e-4)
    assert not torch.allclose(found, fog_a(model, *inputs), rtol=0.05)


@torch.no_grad()
def test_the_short_cut_replaces_what_a_hook_on_the_unit_replaces(model, inputs):
    replace = mean_of_frames(inputs[3])
    whole = Preconditioned(model, 0.5).eval()
    for backbone in (model, whole):
        shared, defined = list(backbone.ablated(*inputs, replace)), list(Backbone.ablated(backbone, *inputs, replace))
        for fast, slow in zip(shared, defined, strict=True):
            assert torch.allclose(fast[inputs[3]], slow[inputs[3]], atol=1e-5)
    assert not any(module._forward_hooks for module in model.modules())


@torch.no_grad()
def test_the_first_layer_updates_what_enters_the_blocks_and_not_the_token_interface(model, inputs):
    states = {}
    model(*inputs, states=states)
    states[0] = model.embed(*inputs)[0]
    for layer, (base, f) in enumerate(model.updates(*inputs), 1):
        assert torch.allclose(base, states[layer - 1], atol=1e-5)
        assert torch.allclose(f, states[layer] - states[layer - 1], atol=1e-5)
    sizes = update_size(model, *inputs)
    for layer in range(1, 6):
        for i, length in enumerate([12, 9, 5]):
            before, after = states[layer - 1][i, :length], states[layer][i, :length]
            assert float(sizes[layer - 1, i]) == pytest.approx(float((after - before).norm() / before.norm()), rel=1e-4)


@torch.no_grad()
def test_controls_of_a_backbone_with_skips_are_those_of_its_gates(two_lines, settings_of, features):
    p = settings_of(WarmupSettings, two_lines)
    network = build(p.model, p.mel.bands, vocabularies(p.tokens), noise_scale=p.flow.noise_scale).eval()
    batch = Dataset(p, **features["sources"]).batch(["clip_16", "clip_18"])
    arguments = batch.mel, torch.tensor([0.3, 0.7]), batch.condition, batch.mask
    states, sizes = {}, update_size(network, *arguments)
    velocity = network(*arguments, states=states)
    nothing = list(network.ablated(*arguments, torch.zeros_like))
    for layer in range(1, network.depth + 1):
        gates, without = torch.ones(network.depth), {}
        gates[layer - 1] = 0
        gated = network(*arguments, gates=gates, states=without)
        assert torch.allclose(nothing[layer], gated, atol=1e-6)
        for i, length in enumerate(batch.mask.sum(1).tolist()):
            base = without[layer][i, :length]
            assert float(sizes[layer - 1, i]) == pytest.approx(
                float((states[layer][i, :length] - base).norm() / base.norm()), rel=1e-4
            )
    assert torch.equal(nothing[0], velocity)
