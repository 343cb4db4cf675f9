"""The whole DAG on real recordings with shrunken params: what a newcomer gets, and what is re-run when something changes."""

import csv
import json

import pandas as pd
import pytest

pytestmark = pytest.mark.slow
TABLE2 = [
    "speech_wer",
    "speech_cer",
    "speech_uer",
    "speech_mos_distill",
    "speech_fad_aisfx",
    "audio_fad_aisfx",
]


def test_every_table_and_figure_is_there_and_filled(finished):
    results = finished.folder / "results" / "demo"
    for table in ("table1", "table2", "table3"):
        for suffix in ("csv", "md", "tex"):
            assert (results / "tables" / f"{table}.{suffix}").stat().st_size > 100
    rows = list(csv.DictReader((results / "tables" / "table2.csv").open()))
    assert len(rows) == 5
    for row in rows:
        for metric in TABLE2:
            value, low, high, n = (row[f"{metric}{suffix}"] for suffix in ("", "_low", "_high", "_n"))
            assert value, f"{row['method']}: no {metric}"
            # Under 12 clips there is no halving to take an interval of a FAD from.
            assert ("fad" in metric and not low and not high) or float(low) <= float(value) <= float(high)
            assert int(float(n)) in (4, 5)
    figures = {path.name for path in (results / "figures").glob("*.png")}
    assert {"scd_heatmap.png", "store_vs_contribute.png", "loss_curves.png", "spectrograms.png", "fog_a_trend.png"} <= figures
    assert "Flight of the Amazon Queen" in (results / "ATTRIBUTION.md").read_text()
    assert "At this scale, of 9 claims: " in (results / "claims.md").read_text()
    assert "data:image/svg+xml" in (results / "report.html").read_text()
    assert not list((finished.folder / "work/demo/state").glob("*")), "resumable state outlived its training"


def test_ground_truth_has_no_unit_errors_and_the_recordings_are_understood(finished):
    scores = pd.read_csv(finished.folder / "results/demo/scores/scores.csv").set_index(["row", "metric"])
    assert scores.value["ground_truth", "speech_uer"] == 0
    assert scores.value["ground_truth", "audio_uer"] == 0
    assert scores.value["ground_truth", "speech_wer"] < 40
    assert scores.value["copy_synthesis", "speech_uer"] > 0


def test_config_b_tokens_have_two_streams_and_every_id_is_in_its_vocabulary(finished):
    from safetensors.numpy import load_file

    for shard in (0, 1):
        for tokens in load_file(finished.folder / f"work/demo/tokens/{shard}.safetensors").values():
            assert tokens.shape[1] == 2
            assert tokens[:, 0].min() >= 0 and tokens[:, 0].max() < 32
            assert tokens[:, 1].min() >= 0 and tokens[:, 1].max() < 32


def test_no_recording_text_source_or_unseen_speaker_is_in_two_splits(finished):
    manifest = pd.read_parquet(finished.folder / "work/demo/manifest.parquet")
    speech = manifest[manifest.domain == "speech"]
    heard_apart = manifest[manifest.listing != "main"]
    for rows, column in ((heard_apart, "family"), (manifest, "sha256"), (speech, "text")):
        splits = rows.groupby(column).split.agg(set)
        assert all(len(found) == 1 for found in splits)
    assert manifest.groupby(["split", "domain", "listing"]).size().to_dict() == {
        ("train", "speech", ""): 24,
        ("train", "audio", ""): 16,
        ("validation", "speech", "main"): 3,
        ("validation", "speech", "unseen"): 3,
        ("validation", "audio", ""): 3,
        ("test", "speech", "main"): 5,
        ("test", "speech", "unseen"): 3,
        ("test", "audio", ""): 5,
    }


def test_selection_is_the_top_three_of_fog_a_and_its_weights_sum_to_one(finished):
    probe = json.loads((finished.folder / "work/demo/probes/dit/seed0/fog_a.json").read_text())
    selection = json.loads((finished.folder / "work/demo/selections/seed0/ag_repa.json").read_text())
    for domain in ("speech", "audio"):
        chosen = selection["domains"][domain]
        assert chosen["layers"] == probe["domains"][domain]["ranking"][:3]
        assert sum(chosen["weights"]) == pytest.approx(1)


def test_every_artifact_has_a_run_card_that_names_its_commit_inputs_and_cost(finished):
    cards = [json.loads(path.read_text()) for path in (finished.folder / "results/demo/cards").glob("*.json")]
    assert len(cards) > 60
    written = {output: digest for card in cards for output, digest in card["outputs"].items()}
    for card in cards:
        assert card["seconds"] >= 0
        assert card["peak_memory_mb"] > 0
        for path, digest in card["inputs"].items():
            if path in written:
                assert digest == written[path], f"{card['stage']} read another {path} than was written"


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.planned() == {}
    assert "Nothing to be done" in finished.snakemake()


@pytest.mark.timeout(2400)  # a whole run from scratch on one core, beside other tests
def test_the_same_params_and_seed_give_the_same_scores_on_one_core_and_beside_other_arms(finished, tmp_path):
    other, name = type(finished)(tmp_path), "results/demo/scores/scores.csv"
    other.edit("params/demo.yaml", {"arms": ["base"]})
    other.run("snakemake", "--cores", "1", "--", name)
    again, lines = ((space.folder / name).read_text().splitlines() for space in (other, finished))
    assert {line.split(",")[0] for line in again} == {"row", "ground_truth", "copy_synthesis", "base", "control"}
    assert again == [line for line in lines if not line.startswith("ag_repa,")]


def test_one_arms_params_re_run_that_arm_and_the_tables_only(workspace):
    workspace.edit("params/arms.yaml", {"ag_repa": {"k": 2}})
    planned = workspace.planned()
    assert planned["select"] == 1
    untouched = {
        "fetch",
        "candidates",
        "decode",
        "manifest",
        "index",
        "mel",
        "encode",
        "codebook",
        "tokenize",
        "warmup",
        "fog_a",
        "lasp",
        "gradient_norm",
        "anchor",
    }
    assert not untouched & planned.keys()
    output = workspace.snakemake()
    assert "rule warmup:" not in output
    assert output.count("rule train:") == 1
    selection = json.loads((workspace.folder / "work/demo/selections/seed0/ag_repa.json").read_text())
    assert len(selection["domains"]["speech"]["layers"]) == 2
    assert workspace.planned() == {}


def test_a_label_changes_tables_and_nothing_else(workspace):
    workspace.edit("params/arms.yaml", {"ag_repa": {"label": "Ours"}})
    assert workspace.planned().keys() <= {"tables", "figures", "claims", "page", "all"}
    workspace.snakemake()
    assert "Ours" in (workspace.folder / "results/demo/tables/table2.md").read_text()


def test_a_new_head_re_runs_its_arm_and_nothing_that_does_not_use_it(workspace):
    workspace.edit("params/arms.yaml", {"ag_repa": {"head": "conv", "target": "pooled"}})
    planned = workspace.planned()
    assert planned["train"] == planned["synthesize"] == planned["wer"] == 1
    assert not {"select", "warmup", "fog_a", "tokenize", "encode"} & planned.keys()
    conv = workspace.folder / "src/agrepa/alignment/heads/mlp.py"
    workspace.edit("params/arms.yaml", {"ag_repa": {"head": "mlp"}})
    assert workspace.planned() == {}
    conv.write_text(conv.read_text().replace("nn.SiLU()", "nn.GELU()"))
    assert workspace.planned()["train"] == 1


def test_a_comment_or_a_docstring_re_runs_nothing(workspace):
    for name in ("seeding.py", "corpora/queen.py", "encoders/whisper.py", "training/trainer.py", "artifacts/files.py"):
        path = workspace.folder / "src/agrepa" / name
        path.write_text(path.read_text().replace('"""', '"""Reworded. ', 1) + "\n# A remark.\n")
    assert workspace.planned() == {}


def test_a_failed_arm_fails_the_next_run_too_and_leaves_no_stale_table(workspace):
    (workspace.folder / "work/demo/selections/seed0/ag_repa.json").write_text('{"domains": {}, "broken": [')
    failed = workspace.run("snakemake", "--cores", "2", check=False)
    assert failed.returncode != 0
    again = workspace.run("snakemake", "--cores", "2", check=False)
    assert again.returncode != 0, "a run after a failure must not report the old table as new"
    assert "is not valid JSON" in failed.stdout + failed.stderr


def test_bad_params_stop_before_anything_runs(workspace):
    workspace.edit("params/demo.yaml", {"training": {"typo": 1}})
    done = workspace.run("snakemake", "--cores", "1", check=False)
    assert done.returncode != 0
    assert "params/demo.yaml: training.typo: Extra inputs are not permitted" in done.stdout + done.stderr


def test_config_a_runs_from_tokens_to_tables(workspace):
    workspace.edit("params/demo.yaml", {"tokens": {"config": "A"}, "arms": ["base"]})
    assert "encode" not in workspace.planned()
    workspace.snakemake()
    from safetensors.numpy import load_file

    assert all(t.shape[1] == 1 for t in load_file(workspace.folder / "work/demo/tokens/0.safetensors").values())
    assert workspace.planned() == {}
