"""Every command of docs/run.md, in its order, in one workspace: the four ways of running, and what each of them says."""

import re
import shlex
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from shrunken import ARM, ran_by_dvc

pytestmark = pytest.mark.slow
# The rest runs for real elsewhere: SLURM in tests/slurm; `small` takes hours.
ONLY_PLANNED = ("--workflow-profile", "params/small.yaml")
ON_A_CLUSTER = ("scancel",)
DEVELOPMENT = {"make reproduce", "make test"}


def commands(document):
    """The command lines of a document's shell blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.M | re.S)
    lines = (re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line]


def with_make(space, root):
    """Let `make` run in the workspace in this interpreter's environment, which is not set up again."""
    shutil.copy(root / "Makefile", space.folder)
    shutil.copy(root / "pyproject.toml", space.folder)
    shutil.copytree(root / "requirements", space.folder / "requirements")
    environment = space.folder / ".venv"
    environment.mkdir()
    (environment / "bin").symlink_to(Path(sys.prefix) / "bin")
    (environment / ".ready").touch()


def test_readme_names_no_command_that_the_guide_does_not_explain(root):
    assert set(commands(root / "README.md")) <= set(commands(root / "docs" / "run.md")) | DEVELOPMENT


def test_the_commands_of_the_guide_do_what_it_says(space, root):
    with_make(space, root)
    tables = space.folder / "results" / "demo" / "tables"
    said = {}
    for command in commands(root / "docs" / "run.md"):
        words = shlex.split(command)
        if words[0] in ON_A_CLUSTER:
            continue
        if words[0] == "snakemake" and any(word in command for word in ONLY_PLANNED):
            words.append("--dry-run")
        if command == "make tables":
            wanted = {path: path.read_bytes() for path in tables.glob("table*")}
            shutil.rmtree(tables)
        if words[:2] == ["agrepa", "compare"]:
            space.commit("two layers")
        done = space.run(*words)
        said[command] = done.stdout + done.stderr
        if command == "make tables":
            assert {path: path.read_bytes() for path in tables.glob("table*")} == wanted

    assert "Nothing to be done" in said["snakemake --cores 2"]
    assert "profile profiles/default" in said["snakemake --cores 2"], "it is what finishes a killed run"
    (jobs,) = set(re.findall(r"^total +(\d+)$", said["snakemake --cores 8 --config params=params/small.yaml"], re.M))
    assert int(jobs) > 130
    assert "Nothing to be done" in said["snakemake --cores 2 -- work/demo/probes/dit/seed0/fog_a.json"]
    report = (space.folder / "workflow.html").read_text()
    assert all(word in report for word in ("table2.csv", "scd_heatmap.png", "Figures", "fog_a"))

    assert "up to date" in said["dvc status"]
    assert not ran_by_dvc(said["dvc repro"] + said["dvc repro train@ag_repa"])
    (experiment,) = (command for command in said if command.startswith("dvc exp run"))
    assert ran_by_dvc(said[experiment]) == Counter(["select"]) + ARM
    (shown,) = (command for command in said if command.startswith("dvc exp show"))
    assert all(word in said[shown] for word in ("ag_repa.k", "ag_repa.speech_mos_distill"))
    assert "ag_repa.speech_mos_distill" in said["dvc metrics diff"]
    assert "validation loss" in (space.folder / "dvc_plots" / "index.html").read_text()
    assert "snakemake is up to date with what DVC built" in said["agrepa adopt snakemake"]
    assert "params: params/small.yaml" in (space.folder.parent / "agrepa-small" / "dvc.yaml").read_text()

    assert "Nothing to be done" in said["snakemake --workflow-profile profiles/slurm"]
    assert "work/demo/warmup/dit/seed0/checkpoint.safetensors  <- warmup at" in said["agrepa show results/demo/scores/scores.csv"]
    assert "AG-REPA" in said["agrepa compare HEAD~1 HEAD"] or "ag_repa" in said["agrepa compare HEAD~1 HEAD"]
    assert space.planned() == {}
