"""The paper's tables: transcribed values, their agreement with each other, and what their reader says of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agrepa.errors import ArtifactError
from agrepa.params import Experiment
from agrepa.reporting.paper import TABLES, Paper

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def paper() -> Paper:
    return Paper(ROOT / "results" / "paper")


def test_there_are_twelve_tables_and_every_row_has_a_source(paper: Paper) -> None:
    assert TABLES[0] == "table1" and TABLES[-1] == "table12" and len(TABLES) == 12
    for table in TABLES:
        number = table.removeprefix("table")
        for method in paper.methods(table):
            assert paper.text(table, method, "source").startswith(f"arXiv:2603.01006, Table {number}; ")


def test_sources_say_which_tables_are_double_checked(paper: Paper) -> None:
    agree = {t for t in TABLES if all("two transcriptions agree" in paper.text(t, m, "source") for m in paper.methods(t))}
    assert agree == {"table2", "table3", "table4"}


@pytest.mark.parametrize(
    ("table", "method", "column", "value"),
    [
        ("table1", "A FoG-A speech", "layer_2", 9),
        ("table1", "A FoG-A audio", "score_3", 0.0561),
        ("table1", "B Cos-EVT", "layer_1", 14),
        ("table1", "B FoG-A audio", "score_2", 0.094),
        ("table2", "Base", "speech_wer", 5.82),
        ("table2", "REPA @ deep (L20-22)", "audio_mos", 3.48),
        ("table2", "AG-REPA (top-3)", "speech_mos", 4.12),
        ("table3", "Highest LASP", "speech_fad", 1.68),
        ("table3", "Random control", "convergence_steps", 850_000),
        ("table4", "F5-TTS", "ag_repa_fad", 1.15),
        ("table6", "AG-REPA", "training_cost", 0.3),
        ("table8", "Refresh each epoch", "relative_time", 1.19),
        ("table12", "Internal self-alignment", "ag_repa_audio_fad", 2.74),
    ],
)
def test_values_are_the_papers(paper: Paper, table: str, method: str, column: str, value: float) -> None:
    assert paper.value(table, method, column) == value


def test_relative_gains_of_table_3_follow_from_its_fads(paper: Paper) -> None:
    base = paper.value("table3", "Base", "speech_fad")
    for method in paper.methods("table3"):
        gain = 100 * (base - paper.value("table3", method, "speech_fad")) / base
        assert gain == pytest.approx(paper.value("table3", method, "relative_gain"), abs=0.06)


def test_the_tables_give_ag_repa_the_same_fads(paper: Paper) -> None:
    places = {
        "table2": "AG-REPA (top-3)",
        "table3": "Highest FoG-A",
        "table8": "Freeze",
        "table9": "Static heads",
        "table10": "K = 3, FoG-A weights",
        "table11": "Two-layer MLP",
    }
    assert {(paper.value(t, m, "speech_fad"), paper.value(t, m, "audio_fad")) for t, m in places.items()} == {(1.29, 2.56)}
    assert (
        paper.value("table5", "Own DiT", "ag_repa_fad") == paper.value("table12", "Whisper + BEATs", "ag_repa_speech_fad") == 1.29
    )


def test_every_arm_links_to_rows_that_exist(paper: Paper, demo: Experiment) -> None:
    links = [(table, method) for arm in demo.rows.values() for table, method in arm.paper.items()]
    assert all(method in paper.methods(table) for table, method in links)
    assert {m for t, m in links if t == "table2"} == set(paper.methods("table2"))
    assert {m for t, m in links if t == "table3"} == set(paper.methods("table3"))


def test_an_empty_cell_is_none(paper: Paper) -> None:
    assert paper.value("table3", "Base", "convergence_steps") is None


def test_an_unknown_method_lists_those_there_are(paper: Paper) -> None:
    with pytest.raises(ArtifactError, match=r"table3.csv has no method 'Fog'; it has: Base; Random control; .*Highest FoG-A"):
        paper.value("table3", "Fog", "speech_fad")


def test_an_unknown_column_lists_those_there_are(paper: Paper) -> None:
    with pytest.raises(ArtifactError, match=r"no column 'wer'; it has: speech_wer; "):
        paper.value("table2", "Base", "wer")


def test_text_is_not_taken_for_a_number(paper: Paper) -> None:
    with pytest.raises(ArtifactError, match="layers of 'Random control' is '5, 14, 19', not a number"):
        paper.value("table3", "Random control", "layers")


def test_unknown_tables_and_folders_are_named(paper: Paper, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"table13\.csv: no such table"):
        paper.methods("table13")
    with pytest.raises(ArtifactError, match="nowhere: no such folder"):
        Paper(tmp_path / "nowhere")
