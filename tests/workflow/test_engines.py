"""Snakemake and DVC over one workspace: each accepts what the other built, and both re-run the same stages."""

import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from shrunken import ARM, ran_by_dvc, ran_by_snakemake

from agrepa.pipeline import dvc

pytestmark = pytest.mark.slow


def changed_for_dvc(space):
    return set(json.loads(space.run("dvc", "status", "--json").stdout or "{}"))


def test_the_shipped_pipeline_is_what_the_snakefile_renders_to(root, monkeypatch):
    monkeypatch.chdir(root)
    dvc.check(Path("params/demo.yaml"), root / "dvc.yaml")


def test_a_stale_pipeline_fails_the_check(space):
    space.run("agrepa", "dvc", "render", "--check")
    space.edit("params/demo.yaml", {"arms": ["base"]})
    done = space.run("agrepa", "dvc", "render", "--check", check=False)
    assert done.returncode == 1
    assert "dvc.yaml is not what the Snakefile renders to: run `agrepa dvc render --params params/demo.yaml`" in done.stderr


def test_after_snakemake_and_adopt_dvc_has_nothing_to_do(both):
    assert "up to date" in both.run("dvc", "status").stdout
    assert not ran_by_dvc(both.run("dvc", "repro").stdout)
    assert both.planned() == {}


def test_adopting_is_refused_while_the_other_engine_has_work_to_do(space):
    space.edit("params/arms.yaml", {"ag_repa": {"k": 2}})
    for engine, other, pending in (("dvc", "Snakemake", "select"), ("snakemake", "DVC", "plan")):
        done = space.run("agrepa", "adopt", engine, check=False)
        assert done.returncode == 1
        assert f"{engine} cannot adopt the workspace because {other} is not up to date" in done.stderr
        assert pending in done.stderr


FOG_A = "src/agrepa/model/ablation.py"


@pytest.mark.parametrize(
    ("file", "old", "new", "jobs"),
    [
        (FOG_A, "EPSILON = 1e-8", "EPSILON = 1e-8  # reworded", []),
        (FOG_A, "EPSILON = 1e-8", "EPSILON = 1e-8\nUNUSED = 0", ["fog_a", "fog_a_trend", "cards", "tables", "page"]),
        (FOG_A, "EPSILON = 1e-8", "EPSILON = 1e-4", ["fog_a", "fog_a_trend", "select", *ARM.elements()]),
        ("src/agrepa/reporting/style.py", '"axes.linewidth": 0.8', '"axes.linewidth": 1.2', ["figures", "page"]),
        ("params/arms.yaml", "label: AG-REPA (FoG-A top-3)", "label: Ours", ["tables", "figures", "claims", "page"]),
    ],
    ids=["a comment", "FoG-A, same scores", "FoG-A, other scores", "figure style", "label"],
)
def test_both_engines_re_run_the_same_jobs_after_an_edit(space, tmp_path, file, old, new, jobs):
    path = space.folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    other = space.copy(tmp_path / "other")
    assert ran_by_dvc(space.run("dvc", "repro").stdout) == Counter(jobs)
    assert ran_by_snakemake(other.snakemake()) == Counter(jobs)
    assert other.planned() == {}


def test_a_corpus_pin_reaches_everything_behind_it_in_both_engines(space):
    space.edit("params/archives.yaml", {"queen": {"sha256": "0" * 64}})
    assert changed_for_dvc(space) == {"plan"}
    jobs = dvc_jobs(yaml.safe_load((space.folder / "dvc.yaml").read_text())["stages"])
    (pinned,) = (job for job in jobs if "downloads/queen.deb" in job[2])
    behind = followers(pinned, jobs)
    planned = Counter(space.planned())
    del planned["all"]
    assert {"decode", "manifest", "warmup", "fog_a", "train", "anchor", "wer", "tables"} <= planned.keys()
    assert planned == Counter(rule for rule, *_ in behind)


def dvc_jobs(stages):
    """(rule, inputs, outputs) of every job of dvc.yaml, its matrices written out."""
    jobs = []
    for name, stage in stages.items():
        matrix = stage.get("matrix", {})
        paths = [
            [next(iter(path)) if isinstance(path, dict) else path for path in stage.get(kind, [])]
            for kind in ("deps", "outs", "metrics")
        ]
        for values in itertools.product(*matrix.values()):
            filled = [_filled(found, dict(zip(matrix, values, strict=True))) for found in paths]
            jobs.append((name.split("-")[0], frozenset(filled[0]), frozenset(filled[1] + filled[2])))
    return jobs


def _filled(texts, values):
    for key, value in values.items():
        texts = [text.replace(f"${{item.{key}}}", str(value)) for text in texts]
    return texts


def followers(job, jobs):
    """The job and every job that reads, directly or not, what it writes."""
    found, waiting = set(), {job}
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting |= {other for other in jobs if one[2] & other[1]} - found
    return found


def test_adopting_is_refused_while_dvc_yaml_is_of_another_experiment(space):
    done = space.run("agrepa", "adopt", "snakemake", "--params", "params/small.yaml", check=False)
    assert done.returncode == 1
    assert "run `agrepa dvc render --params params/small.yaml`" in done.stderr


def test_every_number_can_be_followed_to_archives_and_commit(both):
    shown = both.run("agrepa", "show", "results/demo/scores/scores.csv").stdout
    assert "downloads/queen.deb  <- fetch at" in shown
    assert "work/demo/warmup/dit/seed0/checkpoint.safetensors  <- warmup at" in shown
    table = both.run("agrepa", "show", "results/demo/tables/table2.csv", "--depth", "1").stdout
    assert "tables at" in table and "results/demo/scores/scores.csv  <- scores at" in table
    unknown = both.run("agrepa", "show", "nowhere.txt", check=False)
    assert unknown.returncode == 1
    assert "no run card mentions nowhere.txt" in unknown.stderr


def test_a_local_remote_takes_the_work_and_gives_it_back(space, tmp_path):
    space.run("dvc", "remote", "add", "--local", "--default", "here", str(tmp_path / "remote"))
    space.run("dvc", "push", "--quiet")
    wanted = (space.folder / "work/demo/warmup/dit/seed0/checkpoint.safetensors").read_bytes()
    shutil.rmtree(space.folder / "work")
    shutil.rmtree(space.folder / ".dvc" / "cache")
    space.run("dvc", "pull", "--quiet")
    assert (space.folder / "work/demo/warmup/dit/seed0/checkpoint.safetensors").read_bytes() == wanted


def test_tables_figures_and_report_come_back_from_what_git_holds(both, tmp_path):
    clone = tmp_path / "clone"
    both.run("git", "clone", "--quiet", str(both.folder), str(clone))
    space = both.at(clone)
    results = clone / "results" / "demo"
    wanted = {path.relative_to(clone): path.read_bytes() for path in results.rglob("*") if path.is_file()}
    for folder in ("tables", "figures"):
        shutil.rmtree(results / folder)
    for file in ("report.html", "claims.md", "claims.csv"):
        (results / file).unlink()
    assert "<- tables at" in space.run("agrepa", "show", "results/demo/tables").stdout
    space.run("agrepa", "rebuild")
    assert {path.relative_to(clone): path.read_bytes() for path in results.rglob("*") if path.is_file()} == wanted
    assert not (clone / "work" / "demo" / "warmup").exists()
