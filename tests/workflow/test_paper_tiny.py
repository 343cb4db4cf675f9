"""The paper's experiment in small, params/paper_tiny.yaml: from published layouts and each network's own format to the page."""

import json
import os
import shutil

import pandas as pd
import pytest
import stand_ins
import yaml
from safetensors.numpy import load_file
from shrunken import Workspace, made_once

from agrepa.reporting.tables import NAMES

LIBRARIES = ("onnx", "s3tokenizer", "speechbrain", "vocos")
PARAMS = stand_ins.FOLDER_OF_ALL / "params" / "paper_tiny.yaml"
ARMS = {"base", "repa_shallow", "ag_repa", "lasp", "base_uvit", "ag_repa_uvit"}
ROWS = ARMS | {"ground_truth", "copy_synthesis", "control"}
pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def run(space, *words, check=True):
    """What Snakemake printed of the experiment, with a cache that no stand-in leaves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGREPA_CACHE", str(space.folder / stand_ins.FOLDER_OF_ALL / "cache"))
        return space.snakemake(*words, "--config", f"params={PARAMS}", check=check)


@pytest.fixture(scope="module")
def made(tmp_path_factory, archive):
    """A workspace with the stand-ins, in which nothing has run."""
    for library in LIBRARIES:
        pytest.importorskip(library, reason=f"needs requirements/paper.txt: {library}")

    def make(folder):
        folder.mkdir()
        Workspace(folder, shrunk={})
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            stand_ins.make(archive)

    return made_once("stand_ins", tmp_path_factory, make)


@pytest.fixture
def fresh(made, tmp_path):
    """The same in a folder of its own, in which a test may damage something."""
    space = Workspace(tmp_path, shrunk={})
    shutil.copytree(made.folder / stand_ins.FOLDER_OF_ALL, tmp_path / stand_ins.FOLDER_OF_ALL, copy_function=os.link)
    return space


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """A workspace in which all of it has run."""
    return made_once("paper_tiny", tmp_path_factory, lambda folder: run(made.copy(folder)))


@pytest.fixture(scope="module")
def results(whole):
    return whole.folder / "results" / "paper_tiny"


def test_every_table_is_there_with_the_rows_that_ran(results):
    for table in NAMES:
        for suffix in ("csv", "md", "tex"):
            assert (results / "tables" / f"{table}.{suffix}").stat().st_size > 100
    scores = pd.read_csv(results / "scores" / "scores.csv")
    assert set(scores.row) == ROWS
    methods = {name: set(pd.read_csv(results / "tables" / f"{name}.csv").method) for name in ("table2", "table3")}
    assert {"REPA @ shallow (1-3)", "AG-REPA (FoG-A top-3)", "Ground truth"} <= methods["table2"]
    assert "Highest LASP (top-3)" in methods["table3"]
    assert "html" in (results / "report.html").read_text()[:200]
    assert {path.name for path in (results / "figures").glob("*.png")} >= {"scd_heatmap.png", "loss_curves.png"}


def test_table_5_has_measured_rows_of_the_u_vit(results):
    table = pd.read_csv(results / "tables" / "table5.csv").set_index(["method", "arm"])
    for arm in ("base_uvit", "ag_repa_uvit"):
        row = table.loc["Voicebox", arm]
        assert row.run == 1 and row[["speech_wer", "speech_fad_vggish", "audio_fad_vggish"]].notna().all()
    assert table.loc[("Voicebox", "ag_repa_uvit"), "speech_fad_vggish_gap"] == pytest.approx(
        table.speech_fad_vggish["Voicebox", "ag_repa_uvit"] - table.speech_fad_vggish["Voicebox", "base_uvit"], abs=1e-3
    )
    assert table.run["F5-TTS"].sum() == 0


def test_the_second_judge_and_the_likeness_of_voices_have_columns(results):
    scores = pd.read_csv(results / "scores" / "scores.csv").set_index(["row", "metric"]).value
    for row in ROWS:
        assert scores[row, "speech_wer_ctc"] > 0 and -1 <= scores[row, "speech_sim_o"] <= 1
    assert scores["ground_truth", "speech_uer"] == scores["ground_truth", "audio_uer"] == 0
    table = pd.read_csv(results / "tables" / "table2.csv")
    assert table[["speech_wer_ctc", "speech_cer_ctc", "speech_sim_o"]].notna().all(axis=None)
    # The judge alone is a real network, and the recordings are speech.
    assert scores["ground_truth", "speech_wer"] < 50 < scores["ground_truth", "speech_wer_ctc"]


def test_the_manifest_has_what_the_trees_have(whole):
    table = pd.read_parquet(whole.folder / "work/paper_tiny/manifest.parquet")
    spoken = {subset: len(readers) * count for subset, (readers, count) in stand_ins.READERS.items()}
    counts = table.groupby(["split", "domain"]).size()
    assert counts["train", "speech"] == sum(count for subset, count in spoken.items() if subset.startswith("train"))
    assert counts["train", "audio"] == stand_ins.SEGMENTS["bal_train"] + stand_ins.SEGMENTS["unbal_train"]
    assert counts["test", "speech"] == spoken["test-clean"]
    assert counts["validation"].to_dict() == {"speech": 4, "audio": 3} and counts["test", "audio"] == 4
    tested = table[(table.split == "test") & (table.domain == "speech")].set_index("id")
    assert (tested.speaker[tested.prompt].to_numpy() == tested.speaker.to_numpy()).all()
    assert {*pd.read_csv(whole.folder / "work/paper_tiny/candidates.unusable.csv").columns} == {"source", "file", "problem"}


def test_speech_is_coded_by_s3_and_audio_by_a_quantiser_of_beats(whole):
    table = pd.read_parquet(whole.folder / "work/paper_tiny/manifest.parquet").set_index("id")
    largest = {}
    for path in (whole.folder / "work/paper_tiny/tokens").glob("*.safetensors"):
        for name, ids in load_file(path).items():
            domain = table.domain[name.split("/")[0].split(".")[0]]
            assert ids.shape[1] == 2 and ids[:, 1].max() < 32
            low, high = (0, 4096) if domain == "speech" else (4096, 4112)
            assert low <= ids[:, 0].min() and ids[:, 0].max() < high
            largest[domain] = max(largest.get(domain, 0), int(ids[:, 0].max()))
    assert largest["speech"] > 2048 and largest["audio"] > 4096


def test_all_of_it_is_done_for_these_params(whole):
    assert whole.run("agrepa", "check", str(PARAMS)).returncode == 0
    cards = [json.loads(path.read_text()) for path in (whole.folder / "results/paper_tiny/cards").rglob("*.json")]
    assert {"warmup", "train", "second_wer", "similarity"} <= {card.get("stage") for card in cards}


def never_trained(space):
    return not list((space.folder / "work").glob("paper_tiny/warmup/**/*.safetensors"))


def test_a_parquet_file_that_is_cut_off_stops_before_any_training(fresh):
    path = fresh.folder / stand_ins.FOLDER_OF_ALL / "AudioSet/data/unbal_train/01.parquet"
    content = path.read_bytes()
    path.unlink()  # the others have a link to it
    path.write_bytes(content[: len(content) // 2])
    said = run(fresh, check=False)
    assert f"agrepa candidates: error: {stand_ins.FOLDER_OF_ALL}/AudioSet/data/unbal_train/01.parquet: is cut off or no" in said
    assert never_trained(fresh)


def test_a_network_that_is_not_the_pinned_one_stops_before_any_training(fresh):
    path = fresh.folder / PARAMS.parent / "archives.yaml"
    archives = yaml.safe_load(path.read_text())
    archives["wavlm_base_plus_sv"]["files"]["pytorch_model.bin"] = "0" * 64
    path.unlink()
    path.write_text(yaml.safe_dump(archives))
    said = run(fresh, check=False)
    assert f"wavlm_base_plus_sv/pytorch_model.bin is not the pinned pytorch_model.bin: expected sha256 {'0' * 64}, found" in said
    assert never_trained(fresh)
