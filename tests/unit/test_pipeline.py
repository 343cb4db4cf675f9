"""How stages run: whole outputs or none, run cards, and errors a person can act on; what re-runs a job."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agrepa import params
from agrepa.artifacts.files import read_json, sha256, write_json
from agrepa.errors import ArtifactError, ParamsError
from agrepa.pipeline import arithmetic, hashes, keys, provenance, runner, source
from agrepa.pipeline.file_lists import compact, expand
from agrepa.pipeline.signatures import signature
from agrepa.pipeline.stages import STAGES

DEMO = Path(__file__).resolve().parents[2] / "params" / "demo.yaml"
EXPERIMENT = params.load(DEMO)
FOG_A = {"layers": [1, 2], "score": [0.1, 0.3]}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The memory of hashes lies in the working folder."""
    monkeypatch.chdir(tmp_path)


def select(arm, probe, out):
    given = {"arm": arm, "seed": "0", "probe": str(probe), "out": str(out)}
    runner.run("select", EXPERIMENT, DEMO, given, out.with_name("card.json"))


def probe_of(folder):
    scores = [0.5, 0.1, 0.4, 0.3] + [0.01] * 8
    domain = {"layers": list(range(1, 13)), "score": scores, "low": scores, "high": scores}
    write_json(folder / "probe.json", {"domains": {"speech": domain, "audio": domain}})
    return folder / "probe.json"


def test_a_finished_job_leaves_its_output_and_a_complete_card(tmp_path):
    probe, out = probe_of(tmp_path), tmp_path / "a" / "out.json"
    select("ag_repa", probe, out)
    stored = read_json(out.with_name("card.json"))
    assert read_json(out)["domains"]["speech"]["layers"] == [1, 3, 4]
    assert stored["outputs"] == {str(out): sha256(out)}
    assert stored["bytes"] == {str(out): out.stat().st_size}
    assert stored["inputs"] == {str(probe): sha256(probe)}
    assert stored["params"]["rows.ag_repa.strategy"] == "fog_a"
    assert stored["does"] == signature("select").does
    assert "training" not in stored["params"]
    assert {"git", "versions", "hardware", "seconds", "peak_memory_mb", "seed", "source"} <= stored.keys()
    assert sorted(p.name for p in out.parent.iterdir()) == ["card.json", "out.json"]


def test_a_failed_job_keeps_the_old_output_and_leaves_nothing_half_written(tmp_path):
    (tmp_path / "out.json").write_text("old")
    with pytest.raises(RuntimeError), runner.whole("select", {"out": tmp_path / "out.json"}) as places:
        places["out"].write_text("half")
        raise RuntimeError
    assert (tmp_path / "out.json").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_an_output_that_was_not_written_and_an_input_that_is_missing_are_errors(tmp_path, monkeypatch):
    with pytest.raises(ArtifactError, match=r"input probe .*nowhere.json does not exist"):
        select("ag_repa", tmp_path / "nowhere.json", tmp_path / "o")
    monkeypatch.setattr("agrepa.selection.write_json", lambda *_: None)
    with pytest.raises(ArtifactError, match="finished without writing out"):
        select("base", "", tmp_path / "o")


def test_threads_come_from_the_params_and_not_from_the_environment(monkeypatch):
    for variable in arithmetic.THREADS:
        monkeypatch.setenv(variable, "7")
    arithmetic.settle(keys.threads("select", EXPERIMENT), "native")
    assert {os.environ[variable] for variable in arithmetic.THREADS} == {"1"}


@pytest.mark.skipif(not arithmetic.has_avx2(), reason="portable numerics hold machines to AVX2, which this one lacks")
def test_portable_numerics_hold_torch_to_avx2_and_native_ones_take_back_what_was_set(monkeypatch):
    for variable in arithmetic.PORTABLE:
        monkeypatch.setenv(variable, "odd")
    arithmetic.settle(1, "native")
    assert not {*arithmetic.PORTABLE} & {*os.environ}
    code = "from agrepa.pipeline import arithmetic; arithmetic.settle(1, 'portable')\n"
    code += "import torch, numpy, ctranslate2; print(torch.backends.cpu.get_cpu_capability())"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == arithmetic.used("portable") == "AVX2"
    assert arithmetic.used("native") == "native"


def test_a_change_of_numerics_runs_every_job_again():
    wildcards = {"arm": "ag_repa"}
    changed = EXPERIMENT.model_copy(update={"numerics": "native"})
    assert keys.values("select", EXPERIMENT, wildcards) | {"numerics": "native"} == keys.values("select", changed, wildcards)


def test_threads_are_limited_before_numpy_is_imported_which_reads_them_only_once():
    modules = "agrepa.pipeline.command_line, agrepa.pipeline.arithmetic, agrepa.pipeline.keys"
    code = f"import sys, {modules}; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_module_that_git_does_not_know_yet_makes_the_tree_dirty(tmp_path):
    package = tmp_path / "src" / "agrepa"
    shutil.copytree(Path(provenance.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "code"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    ask = [sys.executable, "-c", "from agrepa.pipeline import provenance; print(provenance._git()['dirty'])"]

    def dirty():
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(ask, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "workflow.html").write_text("what a run leaves is not code")
    assert dirty() == "False"
    (package / "mine.py").write_text("")
    assert dirty() == "True"


def test_the_command_line_prints_a_message_and_no_traceback(tmp_path):
    given = {"params": DEMO, "arm": "ag_repa", "seed": 0, "probe": tmp_path / "no.json", "out": tmp_path / "o", "card": "c"}
    words = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
    program = Path(sys.executable).with_name("agrepa")
    done = subprocess.run([program, "select", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("agrepa select: error: select: input probe")
    assert "Traceback" not in done.stdout + done.stderr


def test_every_stage_has_a_command_with_its_arguments():
    program = Path(sys.executable).with_name("agrepa")
    listed = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    for stage in STAGES:
        assert stage.replace("_", "-") in listed
        assert signature(stage).of("Out"), f"{stage} writes nothing"
    shown = subprocess.run([program, "encode", "--help"], check=True, capture_output=True, text=True).stdout
    assert all(f"--{name}" in shown for name in ("params", "encoder", "shard", "manifest", "archives", "frames", "means", "card"))


def test_a_stage_gets_the_keys_that_its_settings_name_and_no_other():
    wildcards = {"arm": "ag_repa", "seed": "0"}
    settings = keys.settings("train", EXPERIMENT, wildcards)
    assert settings.head == EXPERIMENT.rows["ag_repa"].head
    assert settings.sample_rate == EXPERIMENT.corpora.sample_rate
    assert not hasattr(settings, "evaluation")
    assert "rows.ag_repa.label" not in keys.values("train", EXPERIMENT, wildcards)
    assert {"rows.ag_repa.head", "corpora.sample_rate", "threads.arms"} <= keys.values("train", EXPERIMENT, wildcards).keys()
    assert keys.keys("units", EXPERIMENT, {})["audio_encoder"] == "encoders.yamnet"
    with pytest.raises(ParamsError, match="has no wildcard 'arm'"):
        keys.settings("train", EXPERIMENT, {})


def test_a_departure_of_one_row_is_no_param_of_the_others():
    def read(stage, **wildcards):
        return keys.values(stage, EXPERIMENT, wildcards)

    departures = {"start": "scratch", "frozen_tokens": True}
    for arm, expected in (("ag_repa", {}), ("as_released", departures)):
        found = read("train", arm=arm)
        assert {name: found[f"rows.{arm}.{name}"] for name in departures if f"rows.{arm}.{name}" in found} == expected
    assert read("synthesize", row="released_steps")["sampling_points.released_steps"] is True
    for row in ("ag_repa", "control"):
        assert not [key for key in read("synthesize", row=row) if key.startswith("sampling_points")]
    other = EXPERIMENT.model_copy(update={"control": "released_steps"})
    assert keys.settings("synthesize", other, {"row": "control"}).sampling_points, "the control is of its arm's model"


def test_settings_of_every_stage_exist_in_the_schema():
    some = {"archive": "queen", "encoder": "yamnet", "stream": "speech", "arm": "ag_repa", "embedding": "aisfx"}
    some |= {"kind": "dit", "row": "control"}
    for stage in STAGES:
        assert keys.settings(stage, EXPERIMENT, some) is not None


@pytest.mark.parametrize(
    "files",
    [
        [f"work/demo/mel/{k}.safetensors" for k in range(5000)],
        [f"work/demo/features/{e}/{k}.safetensors" for e in ("a", "b2") for k in range(3)] + ["x/7.json", "x/9.json", "a.whl"],
        [
            "work/demo/metrics/base/seed0/wer.json",
            "work/demo/metrics/base/seed1/wer.json",
            "work/demo/metrics/base/seed2/wer.json",
        ],
        ["only.json"],
        [],
    ],
)
def test_lists_of_files_are_short_and_come_back_whole(files):
    assert [str(path) for path in expand(compact(files))] == files
    assert len(compact(files)) < 200


def test_a_file_is_hashed_once_and_again_when_it_changes(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(hashes, "sha256", lambda path: looked.append(path) or sha256(path))
    file = tmp_path / "file"
    file.write_text("one")
    assert hashes.hash_of(file) == hashes.hash_of(file) == sha256(file)
    assert len(looked) == 1
    file.write_text("other")
    assert hashes.hash_of(file) == sha256(file)
    assert len(looked) == 2


def test_source_is_what_a_job_runs():
    def names(stage, **wildcards):
        return {str(path).partition("/agrepa/")[2] for path in source.files(stage, EXPERIMENT, wildcards)}

    assert "encoders/yamnet.py" in names("encode", encoder="yamnet", shard="0")
    assert not {"encoders/whisper.py", "training/trainer.py"} & names("encode", encoder="yamnet", shard="0")
    phase_one = names("warmup", kind="dit", seed="0")
    assert {"model/dit.py", "alignment/bit_c.py"} <= phase_one
    elsewhere = ("probes/", "alignment/heads", "alignment/targets", "evaluation/")
    assert not any(name.startswith(elsewhere) for name in phase_one)
    there = names("warmup", kind="uvit", seed="0") | names("train", arm="ag_repa_uvit", seed="0")
    assert "model/uvit.py" in there and "model/dit.py" not in there
    aligned, base = names("train", arm="ag_repa", seed="0"), names("train", arm="base", seed="0")
    assert aligned - base >= {"alignment/heads/mlp.py", "alignment/targets/pooled.py"}
    assert "alignment/heads/conv.py" not in aligned
    assert not any(name.startswith("probes/") for name in aligned)


def test_comments_and_docstrings_are_no_code(tmp_path):
    one, two, three = tmp_path / "one.py", tmp_path / "two.py", tmp_path / "three.py"
    one.write_text('"""Says this."""\n\ndef f(x):\n    """Does that."""\n    return x + 1  # because\n')
    two.write_text('"""Says something else."""\ndef f(x):\n    return (x\n            + 1)\n')
    three.write_text("def f(x):\n    return x + 2\n")
    assert source.code(one) == source.code(two)
    assert source.code(one) != source.code(three)
