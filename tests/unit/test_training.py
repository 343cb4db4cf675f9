"""Objective and training: what is minimised, resuming, and what may differ between arms."""

import dataclasses

import pandas as pd
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from agrepa.alignment import supervision
from agrepa.alignment.bit_c import BiTC
from agrepa.alignment.targets import average
from agrepa.artifacts.files import load_tensors, write_json
from agrepa.data.noise import clip_noise, draw
from agrepa.errors import AgrepaError, ArtifactError
from agrepa.flow.path import interpolate
from agrepa.job import State
from agrepa.model.backbone import build
from agrepa.params.stages import ArmSettings, WarmupSettings
from agrepa.tokens.centres import tables
from agrepa.training import arm as phase_two
from agrepa.training import checkpoint, warmup
from agrepa.training.objective import Objective
from agrepa.training.trainer import learning_rate

VOCABULARIES = [14, 4]


@pytest.fixture
def train_warmup(settings_of, features, codebooks):
    def train(experiment, folder, leave_by=None):
        warmup.run(
            settings_of(WarmupSettings, experiment),
            kind="dit",
            seed="0",
            **features["sources"],
            codebooks=codebooks,
            targets=features["targets"],
            state=State(folder / "state", "test", leave_by),
            checkpoint=folder / "warmup.safetensors",
            log=folder / "log.parquet",
            validation=folder / "validation.parquet",
            snapshots=folder / "snapshots",
        )
        return folder / "warmup.safetensors"

    return train


@pytest.fixture
def train_arm(settings_of, features, codebooks):
    def train(experiment, row, start, selection, folder, name, leave_by=None):
        phase_two.run(
            settings_of(ArmSettings, experiment, arm=row),
            arm=name,
            seed="0",
            warmup=[start] if start else [],
            codebooks=[] if start else codebooks,
            selection=selection,
            **features["sources"],
            targets=features["targets"],
            features=features["features"],
            state=State(folder / f"state-{name}", "test", leave_by),
            checkpoint=folder / f"{name}.safetensors",
            log=folder / f"{name}.parquet",
            validation=folder / f"{name}-validation.parquet",
        )
        return folder / f"{name}.safetensors"

    return train


def selection_file(path, layers):
    entry = {"layers": layers, "weights": [1 / len(layers)] * len(layers) if layers else []}
    write_json(path, {"domains": {"speech": entry, "audio": entry}})
    return path


def killed_at(monkeypatch, update):
    """Interrupt a training in its n-th update; gives back what undoes it."""
    original, steps = AveragedModel.update_parameters, []

    def dies(self, module):
        steps.append(module)
        if len(steps) == update:
            raise KeyboardInterrupt
        original(self, module)

    monkeypatch.setattr(AveragedModel, "update_parameters", dies)
    return lambda: monkeypatch.setattr(AveragedModel, "update_parameters", original)


def test_objective_adds_up_and_reaches_heads_and_tokens(small, settings_of, dataset, stirred):
    p = settings_of(ArmSettings, small, arm="ag_repa")
    backbone = stirred(build(p.model, p.mel.bands, VOCABULARIES, noise_scale=p.flow.noise_scale))
    bit_c = BiTC(16, dataset.teacher_widths())
    term = supervision.build(p, {"speech": ([1, 3], [0.75, 0.25]), "audio": ([2], [1.0])}, backbone, dataset)
    objective = Objective(p.training, backbone, bit_c, term)
    batch = dataset.batch(["clip_0", "clip_1", "clip_2"])
    drawn = draw(p, batch, 0, 0)
    drawn.condition.dropped[:] = False
    drawn.heard.update(speech=2, audio=1)
    losses = objective(batch, drawn)
    losses["total"].backward()
    assert sorted(term.heads) == ["audio_2", "speech_1", "speech_3"]
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in term.heads.parameters())
    assert all(table.weight.grad.abs().sum() > 0 for table in backbone.tokens.tables)
    plain = Objective(p.training, backbone, bit_c)(batch, drawn)
    assert plain["alignment"].item() == 0
    assert losses["total"].item() - plain["total"].item() == pytest.approx(losses["alignment"].item(), rel=1e-4)
    weighted = sum(
        weight * (1 - bit_c.score(checkpointed, dataset.teacher_vectors[domain][clip], domain)).item() / 3
        for domain, weight, clip, checkpointed in (
            (d, p.training.bit_c_weight[d], c, interface(backbone, dataset, p, c))
            for c, d in (("clip_0", "speech"), ("clip_1", "audio"), ("clip_2", "speech"))
        )
    )
    assert plain["total"].item() == pytest.approx(plain["flow"].item() + weighted, rel=1e-4)


@pytest.mark.parametrize("counted", [False, True])
def test_the_frames_of_the_reference_are_in_the_flow_loss_only_where_params_say_so(small, settings_of, dataset, stirred, counted):
    p = settings_of(ArmSettings, small, arm="base")
    training = p.training.model_copy(update={"reference_loss": counted, "reference_dropout": 0.0})
    p = dataclasses.replace(p, training=training)
    backbone = stirred(build(p.model, p.mel.bands, VOCABULARIES, noise_scale=p.flow.noise_scale)).eval()
    batch = dataset.batch(["clip_0", "clip_1", "clip_2"])
    drawn = draw(p, batch, 0, 0)
    assert drawn.given.any(), "a reference has to be there for it to be left out"
    flow = Objective(p.training, backbone, BiTC(16, dataset.teacher_widths()))(batch, drawn)["flow"].item()
    predicted = backbone(interpolate(batch.mel, drawn.eps, drawn.t), drawn.t, drawn.condition, batch.mask)
    losses = []
    for i, frames in enumerate(batch.mask.sum(1).tolist()):
        first = 0 if counted else int((drawn.condition.reference[i] != 0).any(-1).sum())
        losses.append((predicted[i, first:frames] - (batch.mel - drawn.eps)[i, first:frames]).square().mean().item())
    assert flow == pytest.approx(sum(losses) / 3, rel=1e-5)


def interface(backbone, dataset, p, clip):
    """The pooled token interface of one clip, ``[1, D]``."""
    batch = dataset.batch([clip])
    states = {}
    backbone(batch.mel, torch.zeros(1), batch.condition, batch.mask, states=states)
    return states[0].mean(1)


def test_validation_losses_are_kept_clip_by_clip(small, settings_of, dataset, train_warmup, tmp_path):
    p = settings_of(WarmupSettings, small)
    backbone = build(p.model, p.mel.bands, VOCABULARIES, noise_scale=p.flow.noise_scale)
    backbone = checkpoint.load_average(train_warmup(small, tmp_path), backbone, "backbone.")
    table = pd.read_parquet(tmp_path / "validation.parquet")
    assert table.columns.tolist() == ["clip", "domain", "family", "listing", "loss"]
    assert table["clip"].tolist() == [f"clip_{i}" for i in range(16, 24)], "in the manifest's order"
    assert table.listing.tolist() == ["main", "", "main", "", "main", "", "unseen", ""]
    batch = dataset.batch(["clip_19"])
    eps, losses = clip_noise(batch, p.flow.noise_scale, p.seed, "validation"), []
    for time in p.training.validation_times:
        with torch.no_grad():
            found = backbone((1 - time) * eps + time * batch.mel, torch.tensor([time]), batch.condition, batch.mask)
        losses.append((found - (batch.mel - eps)).square().mean().item())
    assert table.loss[3] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    log = pd.read_parquet(tmp_path / "log.parquet").set_index(["series", "step"]).value
    lists = {"speech": ("speech", "main"), "audio": ("audio", ""), "speech_unseen": ("speech", "unseen")}
    of_list = {name: table[(table.domain == domain) & (table.listing == part)].loss for name, (domain, part) in lists.items()}
    for name, part in of_list.items():
        assert part.mean() == pytest.approx(log[f"validation_flow_{name}", 8]), "those of the moving average"
    both = (of_list["speech"].mean() + of_list["audio"].mean()) / 2
    assert log["validation_flow", 8] == pytest.approx(both), "unseen speakers are no part of it"


def test_learning_rate_rises_then_falls_to_zero(small):
    rates = [learning_rate(small.training, step) for step in range(13)]
    assert rates[:2] == pytest.approx([small.training.learning_rate / 2, small.training.learning_rate])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[12] == pytest.approx(0, abs=1e-9)


def test_the_moving_average_ramps_up_for_a_tenth_of_the_run_and_then_has_its_decay():
    assert [checkpoint.decay_at(n, 0.998, 1200) for n in (0, 8, 119, 120)] == pytest.approx([0.1, 0.5, 120 / 129, 0.998])
    assert checkpoint.decay_at(5, 0.3, 1200) == 0.3, "never above what is asked for"
    model = nn.Linear(1, 1, bias=False)
    average = checkpoint.moving_average(model, 0.9, 40)
    expected = None
    for n, value in enumerate([3.0, 1.0, 2.0, 8.0, 5.0, 4.0]):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        decay = 0.0 if n == 0 else min((1 + n) / (10 + n), 0.9) if n < 4 else 0.9
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected)
    assert not average.training


def test_a_killed_run_resumes_to_the_same_bytes(small, train_warmup, tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_warmup(small, whole)
    restore = killed_at(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        train_warmup(small, killed)
    restore()
    assert checkpoint.meta(killed / "state" / "checkpoint.safetensors")["step"] == 4
    train_warmup(small, killed)
    for name in ("warmup.safetensors", "log.parquet", "validation.parquet", "snapshots/4.safetensors", "snapshots/8.safetensors"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert (killed / "state").exists(), "the state is left until the outputs are in their place"


def test_tables_start_as_the_centres_or_at_random(small, train_warmup, codebooks, tmp_path):
    rows = tables(codebooks, small.tokens, small.model.token_width)
    still = small.model_copy(update={"training": small.training.model_copy(update={"learning_rate": 1e-12})})
    random = still.model_copy(update={"model": small.model.model_copy(update={"tables": "random"})})
    started, drawn = (load_tensors(train_warmup(p, tmp_path / name)) for name, p in (("one", still), ("two", random)))
    for stream, start in enumerate(rows):
        name = f"model.backbone.network.tokens.tables.{stream}.weight"
        assert torch.allclose(started[name][:-1], start, atol=1e-5)
        assert (started[name][-1].abs() < 1e-5).all(), "the null token starts as nothing"
        assert not torch.allclose(drawn[name][:-1], start, atol=0.1)
    proj = "model.backbone.network.proj_in.weight"
    assert torch.allclose(started[proj], drawn[proj], atol=1e-6), "and nothing else starts otherwise"


def test_the_state_of_another_job_is_discarded(small, train_warmup, tmp_path, capsys):
    train_warmup(small, tmp_path)
    saved = tmp_path / "state" / "checkpoint.safetensors"
    stale = saved.read_bytes().replace(b"test", b"past")
    (tmp_path / "other" / "state").mkdir(parents=True)
    (tmp_path / "other" / "state" / saved.name).write_bytes(stale)
    train_warmup(small, tmp_path / "other")
    assert "discarding the state in" in capsys.readouterr().err
    assert (tmp_path / "other" / "warmup.safetensors").read_bytes() == (tmp_path / "warmup.safetensors").read_bytes()


def test_arms_start_from_the_warm_up_and_differ_only_by_their_selection(small, train_warmup, train_arm, tmp_path):
    start = train_warmup(small, tmp_path)
    made = {}
    for name, layers in {"base": [], "again": [], "aligned": [2, 4]}.items():
        made[name] = train_arm(small, "ag_repa", start, selection_file(tmp_path / f"{name}.json", layers), tmp_path, name)
    base, again, aligned = (load_tensors(made[a]) for a in ("base", "again", "aligned"))
    assert checkpoint.meta(made["base"])["step"] == 12
    assert all(torch.equal(base[k], again[k]) for k in base)
    assert not torch.equal(base["model.backbone.network.proj_in.weight"], aligned["model.backbone.network.proj_in.weight"])
    assert any(k.startswith("model.supervision.heads.speech_2") for k in aligned)
    assert not any(k.startswith("ema.supervision") for k in aligned), "a head is never evaluated"
    assert aligned["averaged.updates"] == 12
    logs = {a: pd.read_parquet(tmp_path / f"{a}.parquet").set_index(["series", "step"]).value for a in ("base", "aligned")}
    first = ("train_flow", 10)
    assert logs["base"][first] == pytest.approx(logs["aligned"][first], rel=0.05), "the same clips, noise and times"
    loaded = checkpoint.load_average(
        made["aligned"], build(small.model, small.mel.bands, VOCABULARIES, noise_scale=0.5), "backbone."
    )
    assert torch.equal(loaded.network.proj_in.weight, aligned["ema.backbone.network.proj_in.weight"])


def with_arm(experiment, row, **changes):
    rows = experiment.rows | {row: experiment.rows[row].model_copy(update=changes)}
    return experiment.model_copy(update={"rows": rows})


def test_refreshed_layers_are_selected_anew_while_the_arm_trains(small, train_warmup, train_arm, tmp_path):
    start = train_warmup(small, tmp_path)
    chosen = selection_file(tmp_path / "selection.json", [4, 3])
    refreshed = with_arm(small, "ag_repa", k=2, refresh="refreshed")
    refreshed = refreshed.model_copy(update={"training": small.training.model_copy(update={"snapshot_every": 2})})
    made = train_arm(refreshed, "ag_repa", start, chosen, tmp_path, "refreshed")
    log = pd.read_parquet(tmp_path / "refreshed.parquet")
    weights = log[log.series.str.startswith("weight_")]
    assert sorted(weights.step.unique()) == [10, 12], "not at the first step, where the selection holds"
    for _, of_domain in weights.groupby(["step", weights.series.str.split("_").str[1]]):
        assert len(of_domain) == 2
        assert of_domain.value.sum() == pytest.approx(1)
    last = checkpoint.meta(made)["supervision"]
    at_end = weights[weights.step == 12].set_index("series").value
    for domain, (layers, shares) in last.items():
        assert [at_end[f"weight_{domain}_{layer}"] for layer in layers] == shares
    moments = {k.split(".")[3] for k in load_tensors(made) if k.startswith("optimizer.supervision.heads.")}
    supervised = {name.removeprefix("weight_") for name in weights[weights.step == 10].series}
    assert moments == {"speech_3", "speech_4", "audio_3", "audio_4"} | supervised


def test_a_killed_refreshed_arm_resumes_to_the_same_bytes(small, train_warmup, train_arm, tmp_path, monkeypatch):
    start = train_warmup(small, tmp_path)
    chosen = selection_file(tmp_path / "selection.json", [4, 3])
    settings = {"snapshot_every": 4, "validate_every": 4, "arm_steps": 8, "warmup_steps": 8}
    training = small.training.model_copy(update=settings)
    refreshed = with_arm(small, "ag_repa", k=2, refresh="refreshed").model_copy(update={"training": training})
    whole = train_arm(refreshed, "ag_repa", start, chosen, tmp_path, "whole").read_bytes()
    # Refreshed at step 12, saved at 14, killed in step 15: what was selected at 12 has to be remembered.
    restore = killed_at(monkeypatch, 7)
    with pytest.raises(KeyboardInterrupt):
        train_arm(refreshed, "ag_repa", start, chosen, tmp_path, "killed")
    restore()
    kept = checkpoint.meta(tmp_path / "state-killed" / "checkpoint.safetensors")
    assert kept["step"] == 14
    assert train_arm(refreshed, "ag_repa", start, chosen, tmp_path, "killed").read_bytes() == whole
    assert kept["supervision"] != {domain: [[4, 3], [0.5, 0.5]] for domain in ("speech", "audio")}


def test_an_arm_that_follows_its_average_sees_the_steps_own_draw_and_resumes_to_the_same_bytes(
    small, train_warmup, train_arm, tmp_path, monkeypatch
):
    start = train_warmup(small, tmp_path)
    chosen = selection_file(tmp_path / "selection.json", [1, 2])
    following = with_arm(small, "ag_repa", target="average")
    trained, looked, original = [], [], average.Average.look

    def look(self, batch, step, course):
        drawn = course.drawn(batch, step)
        looked.append((step, drawn.t, drawn.eps, drawn.condition.reference, drawn.condition.dropped))
        original(self, batch, step, course)

    def remember(_module, given):
        _, drawn = given
        trained.append((drawn.step, drawn.t, drawn.eps, drawn.condition.reference, drawn.condition.dropped))

    monkeypatch.setattr(average.Average, "look", look)
    hook = nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: remember(module, given) if isinstance(module, Objective) else None
    )
    made = train_arm(following, "ag_repa", start, chosen, tmp_path, "whole")
    hook.remove()
    assert [step for step, *_ in looked] == [step for step, *_ in trained] == [8, 9, 10, 11]
    for mine, theirs in zip(looked, trained, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine[1:], theirs[1:], strict=True))
    assert {name.split(".")[2] for name in load_tensors(made) if name.startswith("model.supervision")} == {"heads"}
    restore = killed_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train_arm(following, "ag_repa", start, chosen, tmp_path, "killed")
    restore()
    assert train_arm(following, "ag_repa", start, chosen, tmp_path, "killed").read_bytes() == made.read_bytes()


def test_an_arm_from_scratch_is_base_but_for_its_alignment(small, train_warmup, train_arm, tmp_path):
    """Both phases in one go, with the initialisation, clips, noise, dropouts and learning rates of the warm-up."""
    start = train_warmup(small, tmp_path)
    nothing, some = selection_file(tmp_path / "none.json", []), selection_file(tmp_path / "some.json", [2, 4])
    scratch = with_arm(small, "ag_repa", start="scratch")
    base = train_arm(small, "ag_repa", start, nothing, tmp_path, "base")
    plain = load_tensors(train_arm(scratch, "ag_repa", None, nothing, tmp_path, "plain"))
    assert all(torch.equal(plain[name], value) for name, value in load_tensors(base).items())
    aligned = train_arm(scratch, "ag_repa", None, some, tmp_path, "aligned")
    assert checkpoint.meta(aligned)["step"] == 12
    logs = [pd.read_parquet(tmp_path / f"{name}.parquet").set_index(["series", "step"]).value for name in ("log", "aligned")]
    assert logs[0]["learning_rate", 8] == logs[1]["learning_rate", 8]
    assert logs[1]["train_alignment", 2] > 0 and logs[0]["train_flow", 8] != logs[1]["train_flow", 8]
    # The first logged loss is that of two steps, before and after a first update with a small learning rate.
    assert logs[1]["train_flow", 2] == pytest.approx(logs[0]["train_flow", 2], rel=1e-2)


def test_an_arm_from_scratch_has_the_heads_of_one_from_the_warm_up(small, train_warmup, train_arm, tmp_path):
    still = small.model_copy(update={"training": small.training.model_copy(update={"learning_rate": 1e-12})})
    some, start = selection_file(tmp_path / "some.json", [2, 4]), train_warmup(still, tmp_path)
    one = load_tensors(train_arm(still, "ag_repa", start, some, tmp_path, "one"))
    two = load_tensors(train_arm(with_arm(still, "ag_repa", start="scratch"), "ag_repa", None, some, tmp_path, "two"))
    assert any(name.startswith("model.supervision.heads") for name in one)
    for name in [name for name in one if name.startswith("model.")]:
        assert torch.allclose(one[name], two[name], atol=1e-8), name


def test_a_checkpoint_is_for_arms_from_the_warm_up_alone(small, train_warmup, train_arm, tmp_path):
    start, some = train_warmup(small, tmp_path), selection_file(tmp_path / "some.json", [2])
    with pytest.raises(ArtifactError, match="arm 'one' starts from scratch, and 1 checkpoints were given"):
        train_arm(with_arm(small, "ag_repa", start="scratch"), "ag_repa", start, some, tmp_path, "one")
    with pytest.raises(ArtifactError, match="arm 'two' starts from warmup, and 0 checkpoints were given"):
        train_arm(small, "ag_repa", None, some, tmp_path, "two")


def test_frozen_tokens_stay_as_they_were_while_all_else_learns(small, train_warmup, train_arm, tmp_path):
    start, some = train_warmup(small, tmp_path), selection_file(tmp_path / "some.json", [2, 4])
    before = load_tensors(start)
    after = {
        frozen: load_tensors(
            train_arm(with_arm(small, "ag_repa", frozen_tokens=frozen), "ag_repa", start, some, tmp_path, f"frozen-{frozen}")
        )
        for frozen in (False, True)
    }
    names = [name for name in before if name.startswith("model.")]
    tokens = [name for name in names if ".tokens." in name]
    assert {name.rsplit(".tokens.", 1)[1].split(".")[0] for name in tokens} == {"tables", "project"}
    assert all(torch.equal(before[name], after[True][name]) for name in tokens), "no gradient and no weight decay"
    assert not any(torch.equal(before[name], after[False][name]) for name in tokens)
    assert not any(torch.equal(before[name], after[True][name]) for name in names if name not in tokens)


def test_a_checkpoint_of_other_params_is_refused(small, train_warmup, tmp_path):
    start = train_warmup(small, tmp_path)
    wider = small.model.model_copy(update={"width": 32})
    with pytest.raises(ArtifactError, match="does not fit the model"):
        checkpoint.load_average(start, build(wider, small.mel.bands, VOCABULARIES, noise_scale=0.5), "backbone.")
    with pytest.raises(ArtifactError, match="has no weights for"):
        checkpoint.load_average(start, build(small.model, small.mel.bands, VOCABULARIES, noise_scale=0.5), "network.")


def test_a_loss_that_is_not_finite_stops_the_run(small, train_warmup, tmp_path):
    diverging = small.model_copy(update={"training": small.training.model_copy(update={"learning_rate": 1e30})})
    with pytest.raises(AgrepaError, match=r"loss is .* at step \d+: lower training.learning_rate"):
        train_warmup(diverging, tmp_path)
    assert not (tmp_path / "warmup.safetensors").exists()
