"""`agrepa check`: an experiment is complete when its run cards say so, whatever an engine or a batch system took for done."""

import pytest

pytestmark = pytest.mark.slow


def test_outputs_of_an_earlier_run_do_not_pass_for_new_ones(workspace):
    jobs = workspace.run("agrepa", "check").stdout
    assert jobs.startswith("all ") and "jobs of params/demo.yaml ran on what there is now" in jobs

    # Snakemake is told, as by a batch system in error, that all is done.
    workspace.edit("params/arms.yaml", {"ag_repa": {"k": 2}})
    workspace.snakemake("--touch")
    assert workspace.planned() == {}
    done = workspace.run("agrepa", "check", check=False)
    assert done.returncode == 1
    assert "select 0 ag_repa was made with another rows.ag_repa.k" in done.stderr
    assert "train ag_repa 0 was made with another rows.ag_repa.k" in done.stderr


def test_a_job_that_did_not_run_after_what_it_reads_is_named(workspace):
    card = workspace.folder / "work/demo/mel/0.safetensors.card.json"
    card.write_text(card.read_text().replace('"work/demo/mel/0.safetensors": "', '"work/demo/mel/0.safetensors": "0'))
    (workspace.folder / "work/demo/probes/dit/seed0/lasp.json.card.json").unlink()
    (workspace.folder / "work/demo/warmup/dit/seed0/checkpoint.safetensors").unlink()
    said = workspace.run("agrepa", "check", check=False).stderr
    assert "index mel was made of another work/demo/mel/0.safetensors" in said
    assert "lasp dit 0 has no run card" in said
    assert "warmup dit 0 has not left work/demo/warmup/dit/seed0/checkpoint.safetensors" in said
