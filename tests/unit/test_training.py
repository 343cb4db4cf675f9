"""Batches, objective and the training loop: order, resuming, and what may differ between arms."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from agrepa.artifacts import load_tensors, write_features, write_json, write_table
from agrepa.corpora import manifest as manifests
from agrepa.errors import AgrepaError, ArtifactError
from agrepa.stages import View
from agrepa.training import arm as phase_two
from agrepa.training import checkpoint, warmup
from agrepa.training.batches import Clips, Plan, pack
from agrepa.training.loop import learning_rate
from agrepa.training.objective import Objective, draw

BANDS = 6


@pytest.fixture
def small(demo):
    """The demo experiment with a model and a budget of seconds."""
    data = demo.model_dump(mode="json")
    data["mel"]["bands"] = BANDS
    data["model"] |= {"depth": 4, "width": 16, "heads": 2, "token_width": 8, "head_width": 8, "conv_kernel": 3, "dropout": 0.1}
    data["training"] |= {
        "batch_frames": 120,
        "warmup_steps": 8,
        "arm_steps": 4,
        "log_every": 2,
        "validate_every": 4,
        "checkpoint_every": 2,
        "snapshot_every": 4,
        "lr_warmup_steps": 2,
    }
    data["tokens"]["speech"]["vocabulary"], data["tokens"]["audio"]["vocabulary"], data["tokens"]["second"]["vocabulary"] = (
        9,
        5,
        4,
    )
    return type(demo).model_validate(data)


@pytest.fixture
def sources(tmp_path):
    """Random features of 24 clips: the loop does not care what they mean."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        domain, split = ("speech", "audio")[i % 2], "train" if i < 16 else "validation"
        rows.append(
            dict.fromkeys(manifests.COLUMNS, "")
            | {"id": f"clip_{i}", "domain": domain, "split": split, "family": f"f{i % 6}_{split}", "sha256": f"{i}", "start": 0.0}
            | {"seconds": 1.0, "sample_rate": 16000}
        )
    write_table(tmp_path / "manifest.parquet", pd.DataFrame(rows))
    write_json(tmp_path / "statistics.json", {"mean": -3.0, "std": 2.0})
    torch.manual_seed(0)
    made = {name: [] for name in ("mel", "tokens", "whisper", "yamnet")}
    for row in rows:
        frames = int(rng.integers(10, 40))
        tokens = torch.randint(0, 9, (frames, 2)) % torch.tensor([9, 4]) + torch.tensor([9 if row["domain"] == "audio" else 0, 0])
        if row["domain"] == "audio":
            tokens[:, 0] = 9 + tokens[:, 0] % 5
        made["mel"].append((row["id"], "mel", torch.randn(frames, BANDS), 62.5))
        made["tokens"].append((row["id"], "tokens", tokens.int(), 50.0))
        made["whisper"].append((row["id"], "last.mean", torch.randn(1, 7), 0.0))
        made["yamnet"].append((row["id"], "embedding.mean", torch.randn(1, 5), 0.0))
    for name, entries in made.items():
        write_features(tmp_path / f"{name}.safetensors", entries)
    files = {name: [tmp_path / f"{name}.safetensors"] for name in made}
    return {"manifest": tmp_path / "manifest.parquet", "statistics": tmp_path / "statistics.json", **files}


def view(experiment):
    keys = tuple(type(experiment).model_fields)
    return View(experiment, keys, "test", fingerprint=["test"])


def train_warmup(experiment, sources, folder):
    warmup.run(
        view(experiment), folder / "state", folder / "warmup.safetensors", folder / "log.parquet", folder / "snapshots", **sources
    )
    return folder / "warmup.safetensors"


def test_packing_keeps_the_padded_size_within_the_budget():
    frames = {f"c{i}": 5 + i for i in range(20)}
    groups = pack(sorted(frames, key=frames.get), frames, 60)
    assert sorted(itertools.chain(*groups)) == sorted(frames)
    assert all(len(g) == 1 or len(g) * max(frames[c] for c in g) <= 60 for g in groups)
    assert pack(["long"], {"long": 500}, 60) == [["long"]]


def test_the_plan_depends_on_seed_and_step_alone_and_covers_every_epoch():
    frames = {f"c{i}": 10 + i % 7 for i in range(30)}
    plan = Plan(frames, 64, seed=3)
    first = list(itertools.islice(plan.steps(0), 40))
    assert list(itertools.islice(Plan(frames, 64, seed=3).steps(17), 23)) == first[17:]
    epoch = plan.epoch(0)
    assert sorted(itertools.chain(*epoch)) == sorted(frames)
    assert first[: len(epoch)] == epoch
    assert Plan(frames, 64, seed=4).epoch(0) != epoch


def test_batches_normalise_pad_and_route_teachers(small, sources):
    clips = Clips(small, sources)
    batch = clips.batch(["clip_0", "clip_1", "clip_2"])
    frames = clips.mel.frames["clip_1"]
    assert torch.allclose(batch.mel[1, :frames], (clips.mel["clip_1"] + 3) / 2)
    assert batch.mask.sum(1).tolist() == [clips.mel.frames[c] for c in batch.ids]
    assert (batch.mel[~batch.mask] == 0).all()
    assert (batch.condition.tokens[1, frames:] == -1).all()
    assert batch.domain.tolist() == [0, 1, 0]
    assert torch.equal(batch.teachers["speech"][1], clips.teachers["speech"]["clip_2"][0])
    assert torch.equal(batch.teachers["audio"][0], clips.teachers["audio"]["clip_1"][0])
    swapped = clips.batch(["clip_0"], {"clip_0": "clip_2"})
    assert torch.equal(swapped.condition.tokens[0], clips.tokens["clip_2"].long())


def test_draws_are_shared_by_arms_and_respect_their_rates(small, sources):
    clips = Clips(small, sources)
    batch = clips.batch([f"clip_{i}" for i in range(16)])
    first, again = draw(small, batch, 0, 5), draw(small, batch, 0, 5)
    assert torch.equal(first.eps, again.eps)
    assert torch.equal(first.condition.reference, again.condition.reference)
    assert not torch.equal(first.t, draw(small, batch, 0, 6).t)
    draws = [draw(small, batch, 0, step) for step in range(300)]
    dropped = torch.stack([d.condition.dropped for d in draws]).float().mean()
    assert dropped == pytest.approx(0.1, abs=0.02)
    for d in draws[:20]:
        shown = (d.condition.reference != 0).any(-1)
        assert (shown.sum(1) <= (0.3 * batch.mask.sum(1)).floor()).all()
        assert (shown.int().diff(dim=1) <= 0).all(), "the reference is a prefix"
        assert not shown[d.condition.dropped].any()


def test_objective_adds_up_and_reaches_heads_and_tokens(small, sources):
    clips = Clips(small, sources)
    selection = {"speech": ([1, 3], [0.75, 0.25]), "audio": ([2], [1.0])}
    objective = Objective(small, BANDS, [14, 4], clips.teacher_widths(), selection).eval()
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            if "modulation" in name or "leave" in name:
                parameter.normal_(std=0.1)
    batch = clips.batch(["clip_0", "clip_1", "clip_2"])
    drawn = draw(small, batch, 0, 0)
    drawn.condition.dropped[:] = False
    losses = objective(batch, drawn)
    losses["total"].backward()
    assert sorted(objective.heads) == ["audio_2", "speech_1", "speech_3"]
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in objective.heads.parameters())
    assert all(table.weight.grad.abs().sum() > 0 for table in objective.dit.tokens.tables)
    base = Objective(small, BANDS, [14, 4], clips.teacher_widths()).eval()
    base.load_state_dict({k: v for k, v in objective.state_dict().items() if not k.startswith("heads.")})
    plain = base(batch, drawn)
    assert plain["alignment"].item() == 0
    assert losses["total"].item() - plain["total"].item() == pytest.approx(losses["alignment"].item(), rel=1e-4)


def test_learning_rate_rises_then_falls_to_zero(small):
    rates = [learning_rate(small, step) for step in range(13)]
    assert rates[:2] == pytest.approx([small.training.learning_rate / 2, small.training.learning_rate])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[12] == pytest.approx(0, abs=1e-9)


def test_a_killed_run_resumes_to_the_same_bytes(small, sources, tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_warmup(small, sources, whole)
    original, steps = checkpoint.MovingAverage.update, []

    def dies_at_step_5(self, module, updates):
        steps.append(updates)
        if len(steps) == 5:
            raise KeyboardInterrupt
        original(self, module, updates)

    monkeypatch.setattr(checkpoint.MovingAverage, "update", dies_at_step_5)
    with pytest.raises(KeyboardInterrupt):
        train_warmup(small, sources, killed)
    monkeypatch.setattr(checkpoint.MovingAverage, "update", original)
    assert checkpoint.meta(killed / "state" / "checkpoint.safetensors")["step"] == 4
    train_warmup(small, sources, killed)
    for name in ("warmup.safetensors", "log.parquet", "snapshots/0.safetensors", "snapshots/8.safetensors"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert (killed / "state").exists(), "the state is left until the outputs are in their place"


def test_arms_start_from_the_warm_up_and_differ_only_by_their_selection(small, sources, tmp_path):
    start = train_warmup(small, sources, tmp_path)
    made = {}
    for arm, layers in {"base": [], "again": [], "aligned": [2, 4]}.items():
        entry = {"layers": layers, "weights": [1 / len(layers)] * len(layers) if layers else []}
        write_json(tmp_path / f"{arm}.json", {"domains": {"speech": entry, "audio": entry}})
        made[arm] = tmp_path / f"{arm}.safetensors"
        phase_two.run(
            view(small),
            arm,
            "0",
            start,
            tmp_path / f"{arm}.json",
            tmp_path / "s",
            made[arm],
            tmp_path / f"{arm}.parquet",
            **sources,
        )
    base, again, aligned = (load_tensors(made[a]) for a in ("base", "again", "aligned"))
    assert checkpoint.meta(made["base"])["step"] == 12
    assert all(torch.equal(base[k], again[k]) for k in base)
    assert not torch.equal(base["model.dit.enter.weight"], aligned["model.dit.enter.weight"])
    assert any(k.startswith("model.heads.speech_2") for k in aligned)
    logs = {a: pd.read_parquet(tmp_path / f"{a}.parquet").set_index(["series", "step"]).value for a in ("base", "aligned")}
    at_start = ("validation_flow", 8)
    warm = pd.read_parquet(tmp_path / "log.parquet").set_index(["series", "step"]).value[at_start]
    assert logs["base"][at_start] == logs["aligned"][at_start] == warm
    loaded = checkpoint.load_average(made["aligned"], Objective(small, BANDS, [14, 4], {"speech": 7, "audio": 5}))
    assert torch.equal(loaded.dit.enter.weight, aligned["ema.dit.enter.weight"])


def test_a_checkpoint_of_other_params_is_refused(small, sources, tmp_path):
    start = train_warmup(small, sources, tmp_path)
    other = small.model_copy(update={"model": small.model.model_copy(update={"width": 32})})
    with pytest.raises(ArtifactError, match="does not fit the model"):
        checkpoint.load_average(start, Objective(other, BANDS, [14, 4], {"speech": 7, "audio": 5}))


def test_a_loss_that_is_not_finite_stops_the_run(small, sources, tmp_path):
    diverging = small.model_copy(update={"training": small.training.model_copy(update={"learning_rate": 1e30})})
    with pytest.raises(AgrepaError, match=r"loss is .* at step \d+: lower training.learning_rate"):
        train_warmup(diverging, sources, tmp_path)
    assert not (tmp_path / "warmup.safetensors").exists()
