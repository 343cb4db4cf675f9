"""Stage ``tables``: the paper's Tables 1 to 3 as measured, beside the paper's values, as CSV, Markdown and LaTeX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.artifacts import read_json, write_json
from agrepa.errors import ArtifactError
from agrepa.reporting import table_layers, table_scd, table_scores
from agrepa.reporting.captions import caption
from agrepa.reporting.collected import read_probe, read_scores, read_selections
from agrepa.reporting.grid import Page, latex, markdown
from agrepa.reporting.paper import Paper

if TYPE_CHECKING:
    from agrepa.params import Experiment

WORDS = "words.json"
NAMES = ("table1", "table2", "table3")
TEXT_COLUMNS = (
    *("method", "measure", "probe", "domain", "paper_config", "strategy", "arm", "metric", "card"),
    *("layers_speech", "weights_speech", "layers_audio", "weights_audio", "paper_layers"),
)
TITLES = {
    "table1": "Table 1: which layers store, which contribute",
    "table2": "Table 2: quality of every row",
    "table3": "Table 3: which layers to align",
}


def run(p: Experiment, scores: Path, collected: Path, paper: Path, out: Path) -> None:
    """Write ``table1`` to ``table3`` (.csv, .md, .tex), ``table2.differences.csv``, ``table2.cards.csv`` and ``words.json``.

    Args:
        scores: the experiment's ``scores.csv``.
        collected: the folder with ``probes/`` and ``selections/``.
        paper: the folder of the paper's tables.
        out: folder to write.

    Raises ArtifactError naming the file when something collected is missing or damaged, or a row of arms.yaml names a method
    that the paper's tables lack.
    """
    theirs = Paper(paper)
    found = read_scores(scores)
    probes = {name: read_probe(collected, name) for name in ("lasp", "fog_a")}
    selections = read_selections(collected)
    frames = {
        "table1": table_scd.compute(probes, p.model.depth, p.tokens.config, theirs),
        "table2": table_scores.compute(p.rows, found, selections, theirs),
        "table3": table_layers.compute(p.rows, found, selections, theirs),
        "table2.differences": table_scores.differences(p.rows, found),
        "table2.cards": table_scores.provenance(p.rows, found),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.to_csv(out / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
    words = {name: _words(p, name, out, theirs) for name in NAMES}
    write_json(out / WORDS, words)
    for name in NAMES:
        page = read_page(name, out)
        (out / f"{name}.md").write_text(markdown(page), encoding="utf-8")
        (out / f"{name}.tex").write_text(latex(page), encoding="utf-8")


def read_page(name: str, tables: Path) -> Page:
    """A written table with its words, so that every form of it says the same.

    Raises ArtifactError when a file is missing.
    """
    frame = read_frame(tables / f"{name}.csv")
    if name == "table1":
        grids = table_scd.layout(frame)
    elif name == "table2":
        grids = table_scores.layout(frame, _differences(tables, frame))
    else:
        grids = table_layers.layout(frame)
    words = read_json(tables / WORDS)[name]
    return Page(name, **words | {"notes": tuple(words["notes"])}, grids=tuple(grids))


def _words(p: Experiment, name: str, tables: Path, paper: Paper) -> dict[str, Any]:
    frame = read_frame(tables / f"{name}.csv")
    notes = [_not_run(p, name, frame, paper)]
    if name == "table1":
        reading, notes = table_scd.reading(frame), []
    elif name == "table2":
        reading = table_scores.reading(_differences(tables, frame))
        notes.insert(0, table_scores.unintelligible(frame))
        notes.insert(1, table_scores.control_note(read_frame(tables / "table2.differences.csv")))
    else:
        reading = table_layers.reading(frame)
    return {
        "title": TITLES[name],
        "note": p.reporting.data_note + (" Scored on the validation split." if p.evaluation.split == "validation" else ""),
        "caption": caption(p, name),
        "reading": reading,
        "notes": [note for note in notes if note],
    }


def _differences(tables: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Those of the rows that the table shows."""
    gaps = read_frame(tables / "table2.differences.csv")
    return gaps[gaps["method"].isin(frame["method"])]


def read_frame(path: Path) -> pd.DataFrame:
    """A written table: text columns as text, the others as numbers with NaN where a cell is empty."""
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing: run the stage tables") from None
    names = [column for column in TEXT_COLUMNS if column in frame]
    frame[names] = frame[names].fillna("")
    return frame


def _not_run(p: Experiment, name: str, frame: pd.DataFrame, paper: Paper) -> str:
    run_here = {arm.paper[name] for arm in p.rows.values() if name in arm.paper and arm.label in set(frame["method"])}
    missing = [method for method in paper.methods(name) if method not in run_here]
    number = name.removeprefix("table")
    return f"Rows of the paper's Table {number} that this experiment did not run: {'; '.join(missing)}." if missing else ""
