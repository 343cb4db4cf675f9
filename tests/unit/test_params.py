"""The schema: what is shipped loads, and what is wrong says so with file, key, value and remedy."""

import shutil
from pathlib import Path

import pytest
import yaml

from agrepa import params, stages
from agrepa.errors import ParamsError

PARAMS = Path(__file__).resolve().parents[2] / "params"


@pytest.mark.parametrize(
    "path", sorted(p for p in PARAMS.glob("*.yaml") if p.name not in params.FILES.values()), ids=lambda p: p.name
)
def test_every_shipped_experiment_loads_and_is_named_after_its_file(path):
    assert params.load(path).name == path.stem


def edited(folder, change):
    for file in ("demo.yaml", "arms.yaml", "archives.yaml"):
        shutil.copy(PARAMS / file, folder)
    for file, edit in change.items():
        data = yaml.safe_load((folder / file).read_text())
        edit(data)
        (folder / file).write_text(yaml.safe_dump(data))
    return folder / "demo.yaml"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"demo.yaml": lambda d: d.update(speed=3)}, r"demo.yaml: speed: Extra inputs are not permitted \(found 3\)"),
        ({"demo.yaml": lambda d: d["training"].update(lr=3)}, r"demo.yaml: training.lr: Extra inputs"),
        ({"demo.yaml": lambda d: d["model"].pop("depth")}, r"demo.yaml: model.depth: Field required"),
        (
            {"demo.yaml": lambda d: d.update(arms=["base", "nonsense"])},
            r"arm 'nonsense' is not in arms.yaml, which has: base, repa_l4",
        ),
        ({"demo.yaml": lambda d: d.update(control="repa_l4")}, r"control 'repa_l4' must be one of the arms"),
        ({"demo.yaml": lambda d: d.update(arms=["ag_repa"], control="ag_repa")}, r"arms must have 'base' with strategy none"),
        (
            {"arms.yaml": lambda d: d.update(control=d["base"])},
            r"arms.yaml must not have control: the tables have rows",
        ),
        ({"demo.yaml": lambda d: d["model"].update(depth=2)}, r"arm 'ag_repa' asks for k = 3 layers and the model has 2"),
        ({"arms.yaml": lambda d: d["ag_repa"].update(k=0)}, r"arms.yaml: ag_repa.k: .*\(found 0\)"),
        ({"arms.yaml": lambda d: d["random"].update(weighting="score")}, r"strategy 'random' has no scores to weight layers by"),
        ({"arms.yaml": lambda d: d["base"].update(k=2)}, r"'k' belongs to random, lasp, gradient_norm and fog_a"),
        ({"archives.yaml": lambda d: d["queen"].update(sha256="abc")}, r"archives.yaml: queen.sha256: .*\(found 'abc'\)"),
        ({"demo.yaml": lambda d: d["corpora"].update(sources=["folder"])}, r"source 'folder' needs folder_csv"),
        ({"demo.yaml": lambda d: d["corpora"].update(min_seconds=9)}, r"min_seconds 9.0 must be below max_seconds 5.0"),
        ({"demo.yaml": lambda d: d["evaluation"].update(vocoder="hifigan")}, r"hifigan reads 80 mel bands at 22050 Hz"),
        (
            {"demo.yaml": lambda d: d["training"].update(validate_every=15)},
            r"validate_every 15 must be a multiple of log_every 10",
        ),
        (
            {"demo.yaml": lambda d: d["evaluation"].update(anchor_speech_clips=5)},
            r"anchor_speech_clips 5 must be at least speech_clips 40",
        ),
    ],
)
def test_bad_params_say_what_and_where(tmp_path, change, message):
    with pytest.raises(ParamsError, match=message):
        params.load(edited(tmp_path, change))


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match=r"nowhere.yaml: no such params file"):
        params.load(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(ParamsError, match=r"bad.yaml: not valid YAML"):
        params.load(tmp_path / "bad.yaml")


def test_a_stage_sees_only_the_keys_that_it_declares(demo):
    view = stages.View(demo, stages.keys("select", {"arm": "ag_repa"}), "select")
    assert (view.rows["ag_repa"].k, view.model.depth) == (3, 12)
    with pytest.raises(ParamsError, match=r"stage 'select' reads 'model.width'"):
        view.model.width  # noqa: B018
    with pytest.raises(ParamsError, match=r"reads 'rows.base'"):
        view.rows["base"]


def test_every_stage_lists_keys_and_modules_that_exist(demo):
    wildcards = {"arm": "ag_repa", "archive": "queen", "encoder": "whisper", "embedding": "aisfx", "stream": "second"}
    for stage in stages.STAGES:
        assert stages.values(stage, demo, wildcards)
        assert all(path.exists() for path in stages.source_files(stage, wildcards))


def test_source_follows_imports_and_nothing_else():
    def names(stage, **wildcards):
        return {path.stem for path in stages.source_files(stage, wildcards)}

    assert {"fog_a", "grid", "dit", "conditioning", "batches"} <= names("fog_a")
    assert not {"fog_a", "lasp"} & names("warmup"), "editing a probe must not retrain the warm-up"
    assert not {"params", "cli", "tables"} & names("train", arm="base")
    assert "whisper" in names("encode", encoder="whisper")
    assert "whisper" not in names("encode", encoder="yamnet")
