"""How stages run: whole outputs or none, run cards, and errors a person can act on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agrepa import params, runner, threads
from agrepa.artifacts import read_json, sha256, write_json
from agrepa.cli import app
from agrepa.errors import ArtifactError
from agrepa.runner import running

DEMO = Path(__file__).resolve().parents[2] / "params" / "demo.yaml"


def test_a_finished_job_leaves_its_output_and_a_complete_card(tmp_path):
    (tmp_path / "in.txt").write_text("x")
    out, card = tmp_path / "a" / "out.json", tmp_path / "a" / "card.json"
    with running("select", DEMO, {"arm": "ag_repa"}, {"probe": [tmp_path / "in.txt"]}, {"out": out}, card) as (view, places):
        assert places["out"] != out
        write_json(places["out"], {"k": view.rows["ag_repa"].k})
        assert not out.exists()
    stored = read_json(card)
    assert read_json(out) == {"k": 3}
    assert stored["outputs"] == {str(out): sha256(out)}
    assert stored["inputs"] == {str(tmp_path / "in.txt"): sha256(tmp_path / "in.txt")}
    assert stored["params"]["rows.ag_repa.strategy"] == "fog_a"
    assert "training" not in stored["params"]
    assert {"git", "versions", "hardware", "seconds", "peak_memory_mb", "seed", "source"} <= stored.keys()
    assert sorted(p.name for p in out.parent.iterdir()) == ["card.json", "out.json"]


def test_a_failed_job_keeps_the_old_output_and_leaves_nothing_half_written(tmp_path):
    out = tmp_path / "out.json"
    out.write_text("old")
    with pytest.raises(RuntimeError):
        with running("select", DEMO, {"arm": "base"}, {}, {"out": out}, tmp_path / "card.json") as (_, places):
            places["out"].write_text("half")
            raise RuntimeError
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_an_output_that_was_not_written_and_an_input_that_is_missing_are_errors(tmp_path):
    with pytest.raises(ArtifactError, match="finished without writing out"):
        with running("select", DEMO, {"arm": "base"}, {}, {"out": tmp_path / "o"}, tmp_path / "c"):
            pass
    with pytest.raises(ArtifactError, match=r"input probe .*nowhere.json does not exist"):
        with running(
            "select", DEMO, {"arm": "base"}, {"probe": [tmp_path / "nowhere.json"]}, {"out": tmp_path / "o"}, tmp_path / "c"
        ):
            pass


def test_threads_come_from_the_params_and_not_from_the_environment(monkeypatch):
    for variable in threads.VARIABLES:
        monkeypatch.setenv(variable, "7")
    threads.limit("select", params.load(DEMO))
    assert {os.environ[variable] for variable in threads.VARIABLES} == {"1"}


def test_threads_are_limited_before_numpy_is_imported_which_reads_them_only_once():
    code = "import sys, agrepa.cli, agrepa.threads; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_card_of_a_trained_arm_has_its_own_seed(tmp_path):
    with running("train", DEMO, {"arm": "base", "seed": "2"}, {}, {"out": tmp_path / "o"}, tmp_path / "c") as (_, places):
        places["out"].write_text("")
    assert read_json(tmp_path / "c")["seed"] == 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".partial")] == []


def test_a_module_that_git_does_not_know_yet_makes_the_tree_dirty(tmp_path):
    package = tmp_path / "src" / "agrepa"
    shutil.copytree(Path(runner.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "code"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    ask = [sys.executable, "-c", "from agrepa import runner; print(runner._git()['dirty'])"]

    def dirty():
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(ask, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "workflow.html").write_text("what a run leaves is not code")
    assert dirty() == "False"
    (package / "mine.py").write_text("")
    assert dirty() == "True"


def test_the_command_line_prints_a_message_and_no_traceback(tmp_path):
    result = CliRunner().invoke(
        app,
        [
            "select",
            "--params",
            str(DEMO),
            "--arm",
            "ag_repa",
            "--probe",
            str(tmp_path / "no.json"),
            "--out",
            str(tmp_path / "o"),
            "--card",
            "c",
        ],
    )
    assert result.exit_code == 1
    assert result.stderr.startswith("agrepa select: error: select: input probe")
    assert "Traceback" not in result.output
