"""How stages run: whole outputs or none, run cards, and errors a person can act on."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

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


def test_threads_come_from_the_params_and_not_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with running("select", DEMO, {"arm": "base"}, {}, {"out": tmp_path / "o"}, tmp_path / "c") as (_, places):
        assert os.environ["OMP_NUM_THREADS"] == "1"
        places["out"].write_text("")


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
