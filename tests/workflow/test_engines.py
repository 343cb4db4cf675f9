"""Snakemake and DVC over one workspace: each accepts what the other built, and both re-run the same stages."""

import json
import re
import shutil
from pathlib import Path

import pytest

from agrepa import dvc

pytestmark = pytest.mark.slow
SCORED_AGAIN = {"synthesize", "wer", "mos", "units", "embed", "fad"}
AGGREGATES = {"collect", "scores", "cards", "tables", "figures", "page", "listening"}


@pytest.fixture(scope="module")
def both(finished, root, tmp_path_factory):
    """A finished workspace in git, with DVC up to date beside Snakemake."""
    space = finished.copy(tmp_path_factory.mktemp("both") / "space")
    (space.folder / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        shutil.copy(root / name, space.folder / name)
    space.run("git", "init", "--quiet")
    space.run("git", "config", "user.email", "test@example.org")
    space.run("git", "config", "user.name", "Test")
    space.run("agrepa", "dvc", "render")
    space.run("agrepa", "adopt", "dvc")
    commit(space, "finished")
    return space


@pytest.fixture
def space(both, tmp_path):
    return both.copy(tmp_path / "space")


def commit(space, message):
    space.run("git", "add", "--all")
    space.run("git", "commit", "--quiet", "--message", message)


def ran_by_dvc(output):
    return {name.split("-")[0] for name in re.findall(r"Running stage '([^']+)'", output)}


def changed_for_dvc(space):
    status = json.loads(space.run("dvc", "status", "--json").stdout or "{}")
    return {name.split("-")[0] for name in status}


def ran_by_snakemake(output):
    return set(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", output, re.M)) - {"all"}


def test_the_shipped_pipeline_is_what_the_snakefile_renders_to(root, monkeypatch):
    monkeypatch.chdir(root)
    dvc.check(Path("params/demo.yaml"), root, root / "dvc.yaml")


def test_a_stale_pipeline_fails_the_check(space):
    space.run("agrepa", "dvc", "render", "--check")
    space.edit("params/demo.yaml", {"arms": ["base"]})
    done = space.run("agrepa", "dvc", "render", "--check", check=False)
    assert done.returncode == 1
    assert "dvc.yaml is not what the Snakefile renders to: run `agrepa dvc render`" in done.stderr


def test_after_snakemake_and_adopt_dvc_has_nothing_to_do(both):
    assert "up to date" in both.run("dvc", "status").stdout
    assert ran_by_dvc(both.run("dvc", "repro").stdout) == set()
    assert both.planned() == {}


def test_adopting_is_refused_while_the_other_engine_has_work_to_do(space):
    space.edit("params/arms.yaml", {"ag_repa": {"k": 2}})
    for engine, other in (("dvc", "Snakemake"), ("snakemake", "DVC")):
        done = space.run("agrepa", "adopt", engine, check=False)
        assert done.returncode == 1
        assert f"{engine} cannot adopt the workspace because {other} is not up to date" in done.stderr
        assert "select" in done.stderr


def test_an_experiment_on_one_arms_k_then_snakemake_adopts_it(space):
    output = space.run("dvc", "exp", "run", "--name", "two_layers", "--set-param", "params/arms.yaml:ag_repa.k=2").stdout
    assert ran_by_dvc(output) == {"select", "train", "synthesize", "wer", "mos", "units", "embed", "fad", *AGGREGATES}
    assert "Running stage 'train-base-0'" not in output
    assert "two_layers" in space.run("dvc", "exp", "show", "--csv").stdout
    assert "ag_repa.speech_mos_distill" in space.run("dvc", "metrics", "diff", "HEAD").stdout
    space.run("dvc", "plots", "show", "--out", "plots")
    assert "validation loss" in (space.folder / "plots" / "index.html").read_text()
    assert "snakemake is up to date with what DVC built" in space.run("agrepa", "adopt", "snakemake").stdout
    assert space.planned() == {}


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        ("src/agrepa/reporting/compare.py", '"""', '"""Reworded. ', set()),
        ("src/agrepa/probes/fog_a.py", "EPSILON = 1e-8", "EPSILON = 1e-8  # reworded", {"fog_a", "fog_a_trend"}),
        ("src/agrepa/reporting/style.py", '"""', '"""Reworded. ', {"figures"}),
    ],
    ids=["unrelated docstring", "FoG-A", "figure style"],
)
def test_both_engines_re_run_what_an_edit_of_the_source_reaches(space, file, old, new, stages):
    path = space.folder / file
    path.write_text(path.read_text().replace(old, new, 1))
    directly = changed_for_dvc(space)
    assert directly - {"page"} == stages
    assert ran_by_dvc(space.run("dvc", "repro").stdout) - AGGREGATES == stages - AGGREGATES
    ran = ran_by_snakemake(space.snakemake())
    # FoG-A's file came out the same, so nothing was trained again. Snakemake scores the arm again all the same.
    assert stages <= ran
    assert ran - AGGREGATES - SCORED_AGAIN - {"select"} == stages - AGGREGATES
    assert space.planned() == {}


def test_a_corpus_pin_reaches_everything_in_both_engines(space):
    space.edit("params/archives.yaml", {"queen": {"sha256": "0" * 64}})
    planned = space.planned()
    assert planned["fetch"] == 1
    assert {"prepare", "mel", "encode", "codebook", "tokenize", "warmup", "fog_a", "anchor", "wer"} <= planned.keys()
    assert "fetch" in changed_for_dvc(space)


def test_every_number_can_be_followed_to_archives_and_commit(both):
    shown = both.run("agrepa", "show", "results/demo/scores/scores.csv").stdout
    assert "downloads/queen.deb  <- fetch at" in shown
    assert "work/demo/warmup/checkpoint.safetensors  <- warmup at" in shown
    unknown = both.run("agrepa", "show", "nowhere.txt", check=False)
    assert unknown.returncode == 1
    assert "no run card mentions nowhere.txt" in unknown.stderr


def test_the_slurm_profile_loads_and_plans(both):
    done = both.run("snakemake", "--workflow-profile", "workflow/profiles/slurm", "--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_local_remote_takes_the_work_and_gives_it_back(space, tmp_path):
    space.run("dvc", "remote", "add", "--local", "--default", "here", str(tmp_path / "remote"))
    space.run("dvc", "push", "--quiet")
    wanted = (space.folder / "work/demo/warmup/checkpoint.safetensors").read_bytes()
    shutil.rmtree(space.folder / "work")
    shutil.rmtree(space.folder / ".dvc" / "cache")
    space.run("dvc", "pull", "--quiet")
    assert (space.folder / "work/demo/warmup/checkpoint.safetensors").read_bytes() == wanted


def test_tables_figures_and_report_come_back_from_what_git_holds(both, tmp_path):
    clone = tmp_path / "clone"
    both.run("git", "clone", "--quiet", str(both.folder), str(clone))
    space = both.at(clone)
    results = clone / "results" / "demo"
    wanted = {path.relative_to(clone): path.read_bytes() for path in results.rglob("*") if path.is_file()}
    for folder in ("tables", "figures"):
        shutil.rmtree(results / folder)
    (results / "report.html").unlink()
    space.run("agrepa", "rebuild")
    assert {path.relative_to(clone): path.read_bytes() for path in results.rglob("*") if path.is_file()} == wanted
    assert not (clone / "work" / "demo" / "warmup").exists()
