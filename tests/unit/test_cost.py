"""What trainings cost, from run cards: by hand, beside Tables 2 and 3, and kept out of what must be the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_results import make, settings

from agrepa.params import Experiment
from agrepa.reporting import table_cost, tables

WARMUP = {"stage": "warmup", "wildcards": {}, "seconds": 900.0, "threads": 2}
FOG_A = {"stage": "fog_a", "wildcards": {}, "seconds": 50.0, "threads": 2}


def trained(arm: str, seconds: float, seed: int = 0) -> dict[str, object]:
    return {"stage": "train", "wildcards": {"arm": arm, "seed": str(seed)}, "seconds": seconds, "threads": 2}


CARDS = [
    *(FOG_A, WARMUP, trained("ag_repa", 250), trained("repa_l8", 220)),
    *(trained("base", 190), trained("base", 210, seed=1)),
]


def test_core_seconds_and_ratios_by_hand(demo: Experiment) -> None:
    table = table_cost.compute(demo.rows, CARDS).set_index("arm")
    assert list(table.index) == ["", "base", "repa_l8", "ag_repa"], "the warm-up first, then the order of arms.yaml"
    assert table.core_seconds.tolist() == [1800, 400, 440, 500]
    assert table.trainings.tolist() == [1, 2, 1, 1]
    assert table.ratio.tolist() == pytest.approx([4.5, 1, 1.1, 1.25])
    assert table.probe_core_seconds["ag_repa"] == 100 and table.probe_core_seconds.isna().sum() == 3
    assert table.ratio_with_probe[["base", "repa_l8", "ag_repa"]].tolist() == pytest.approx([1, 1.1, 1.5])


def test_the_reading_says_what_arms_take_beside_base(demo: Experiment) -> None:
    said = table_cost.reading(table_cost.compute(demo.rows, CARDS))
    labels = [demo.rows[arm].label for arm in ("repa_l8", "ag_repa")]
    assert said == f"Training over Base's, in core-seconds: {labels[0]} 1.10; {labels[1]} 1.25 (1.50 with its probe)."
    without_base = [card for card in CARDS if card["wildcards"].get("arm") != "base"]
    assert "nothing to compare" in table_cost.reading(table_cost.compute(demo.rows, without_base))


def with_cards(collected: Path, folder: Path, factor: float) -> Path:
    shutil.copytree(collected, folder)
    (folder / "cards").mkdir()
    for number, card in enumerate(CARDS):
        text = json.dumps(card | {"seconds": card["seconds"] * factor})
        (folder / "cards" / f"{number}.card.json").write_text(text)
    return folder


def test_other_seconds_change_the_files_of_the_cost_and_no_table(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    for name, factor in (("fast", 1.0), ("slow", 3.0)):
        make(demo, with_cards(collected, tmp_path / name, factor), tmp_path / f"{name}-tables")
    fast, slow = (tmp_path / f"{name}-tables" for name in ("fast", "slow"))
    differ = {path.name for path in fast.iterdir() if path.read_bytes() != (slow / path.name).read_bytes()}
    assert differ == {"cost.csv", "cost.md"}
    assert "| Base (no layer alignment) | 2 | 200 | 2 | 400 | - | 1.00 | 1.00 |" in (fast / "cost.md").read_text()
    assert "cost.md" in (fast / "table2.md").read_text() and "cost.md" in (fast / "table3.md").read_text()


def test_a_table_gets_the_cost_of_its_own_rows(demo: Experiment, written: Path) -> None:
    cards = [*CARDS, trained("random", 230)]
    frame = table_cost.compute(demo.rows, cards)
    page = table_cost.under(tables.read_page(settings(demo, "tables"), "table2", written), frame)
    assert page.grids[-1].title == "Cost of training"
    labels = [demo.rows[arm].label for arm in ("base", "repa_l8", "ag_repa")]
    assert [row[0] for row in page.grids[-1].rows] == [table_cost.SHARED, *labels]


def test_without_cards_of_trainings_there_is_no_cost(demo: Experiment, written: Path) -> None:
    """Results of which no run cards were kept still have their tables."""
    assert pd.read_csv(written / "cost.csv").empty
    page = tables.read_page(settings(demo, "tables"), "table3", written)
    assert table_cost.under(page, tables.read_frame(written / "cost.csv")) == page
