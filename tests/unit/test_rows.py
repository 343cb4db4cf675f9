"""The rows that are no arms: their order, their names, and that those who must know them agree."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agrepa.evaluation import rows
from agrepa.evaluation.embeddings import OUTPUT
from agrepa.params import Experiment, references
from agrepa.params.arms import RESERVED
from agrepa.reporting.collected import labels
from agrepa.reporting.figures_curves import WARMUP


def test_params_keep_the_names_of_these_rows_for_them() -> None:
    assert {*rows.ANCHORS, *rows.CONTROLS, WARMUP} == RESERVED


def test_params_check_the_output_that_is_embedded() -> None:
    assert references.EMBEDDING == OUTPUT


def test_base_is_an_arm_of_the_shipped_experiments(demo: Experiment) -> None:
    assert rows.BASE in demo.arms and demo.rows[rows.BASE].strategy == "none"


def test_anchors_come_first_and_once_and_the_control_last_and_once_a_seed() -> None:
    assert rows.evaluated(["base", "mine"], [3, 4], 7) == [
        ("ground_truth", 7), ("copy_synthesis", 7),
        ("base", 3), ("base", 4), ("mine", 3), ("mine", 4), ("control", 3), ("control", 4),
    ]  # fmt: skip


def test_the_control_is_made_by_the_model_of_its_arm() -> None:
    assert [rows.model_of(row, "base") for row in ("base", "mine", "control")] == ["base", "mine", "base"]


def test_labels_are_those_of_the_tables(demo: Experiment) -> None:
    found = labels(demo.rows, ["control", "base", "ground_truth"])
    assert found == {
        "ground_truth": "Ground truth",
        "base": "Base (no layer alignment)",
        "control": "Control (tokens of another clip)",
    }


@pytest.mark.parametrize("heavy", ["torch", "pandas", "numpy", "pydantic"])
def test_the_rules_can_read_them_without_waiting(heavy: str) -> None:
    code = f"import sys, agrepa.evaluation.rows; print({heavy!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
