"""Stage ``tables``: the paper's twelve tables as measured, beside the paper's values, and one of its released code.

Each is CSV, Markdown and LaTeX.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.artifacts.files import read_json, write_json
from agrepa.errors import ArtifactError
from agrepa.job import In, Out
from agrepa.reporting import (
    table_cost,
    table_layers,
    table_released,
    table_scd,
    table_scores,
    table_stability,
    table_steps,
    table_variants,
)
from agrepa.reporting.captions import caption
from agrepa.reporting.collected import read_curves, read_pairs, read_probe, read_scores, read_selections, read_trend
from agrepa.reporting.layout import Page, latex, markdown
from agrepa.reporting.metrics import Metric, distances, metrics
from agrepa.reporting.paper import TABLES as PAPER_TABLES
from agrepa.reporting.paper import Paper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agrepa.params.stages import ClaimsSettings, FiguresSettings, ReportSettings, TablesSettings

WORDS = "words.json"
NAMES = (*PAPER_TABLES, table_released.NAME)
TEXT_COLUMNS = (
    *("method", "measure", "probe", "domain", "paper_config", "strategy", "arm", "metric", "card", "verdict"),
    *("label", "departs"),
    *("first", "second", "layers_speech", "weights_speech", "layers_audio", "weights_audio", "paper_layers"),
)
COST = (
    "What each row's training cost beside Base's stands in cost.md: core-seconds, a job's wall-clock seconds times its threads."
)
TITLES = {
    "table1": "Table 1: which layers store, which contribute",
    "table2": "Table 2: quality of every row",
    "table3": "Table 3: which layers to align",
    "table6": table_steps.TITLE,
    "table7": table_stability.TITLE,
    **table_variants.TITLES,
    table_released.NAME: table_released.TITLE,
}


def run(
    p: TablesSettings,
    *,
    scores: In,
    pairs: In,
    probes: In,
    trend: In,
    curves: In,
    selections: In,
    cards: In,
    paper: In,
    out: Out,
) -> None:
    """The paper's tables, measured beside published.

    Writes ``table1`` to ``table12`` and ``released`` (.csv, .md, .tex), ``table1.controls.csv``, ``table2.differences.csv``,
    ``table2.cards.csv`` and ``words.json``; and what trainings cost, ``cost`` (.csv, .md), which alone differs
    between equal runs.

    Args:
        scores: the experiment's ``scores.csv``; pairs: ``pairs.csv``, beside it.
        probes, selections: folders of one JSON each.
        trend: CSV of FoG-A along the warm-up.
        curves: CSV of the losses of all trainings.
        cards: folder of the run cards; it may be empty.
        paper: the folder of the paper's tables.
        out: folder to write.

    Raises ArtifactError naming the file when something collected is missing or damaged, or a row of arms.yaml names a method
    that the paper's tables lack.
    """
    theirs = Paper(paper)
    found = read_scores(scores)
    probed = {name: read_probe(probes, name) for name in ("lasp", "fog_a")}
    chosen = read_selections(selections)
    measured, fads = metrics(p.embeddings, p.encoders, set(found["metric"])), distances(p.embeddings, p.encoders)
    frames = {
        "table1": table_scd.compute(probed, p.depth, p.tokens.config, theirs),
        "table2": table_scores.compute(p.rows, found, measured, chosen, theirs),
        "table3": table_layers.compute(p.rows, found, fads, chosen, theirs),
        "table6": table_steps.compute(p.rows, read_curves(curves), p.probes, p.training, p.depth, len(p.domains), theirs),
        "table7": table_stability.compute(read_trend(trend, probed["fog_a"]), theirs),
        **{
            name: table_variants.compute(name, p.rows, p.backbone_of, p.backbones, found, measured, theirs)
            for name in table_variants.TITLES
        },
        table_released.NAME: table_released.compute(p.rows, found, read_pairs(pairs), measured, chosen),
        "table1.controls": table_scd.controls(probed["fog_a"]),
        "table2.differences": table_scores.differences(p.rows, found, measured),
        "table2.cards": table_scores.provenance(p.rows, found, measured),
    }
    out.mkdir()
    for name, frame in frames.items():
        frame.to_csv(out / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
    words = {name: _words(p, name, out, measured, theirs) for name in NAMES}
    words["table1"]["notes"].append(table_scd.settled(read_trend(trend, probed["fog_a"]), p.settled))
    write_json(out / WORDS, words)
    cost = table_cost.compute(p.rows, table_cost.read_cards(cards))
    cost.to_csv(out / f"{table_cost.NAME}.csv", index=False, float_format="%.6g", lineterminator="\n")
    (out / f"{table_cost.NAME}.md").write_text(markdown(table_cost.page(cost, data_note(p))), encoding="utf-8")
    for name in NAMES:
        page = read_page(p, name, out)
        (out / f"{name}.md").write_text(markdown(page), encoding="utf-8")
        (out / f"{name}.tex").write_text(latex(page), encoding="utf-8")


def read_page(p: TablesSettings | FiguresSettings, name: str, tables: Path) -> Page:
    """A written table with its words, so that every form of it says the same.

    Raises ArtifactError when a file is missing.
    """
    frame = read_frame(tables / f"{name}.csv")
    if name == "table1":
        grids = table_scd.layout(frame, read_frame(tables / "table1.controls.csv"))
    elif name == "table2":
        grids = table_scores.layout(frame, _differences(tables, frame), metrics(p.embeddings, p.encoders, frame.columns))
    elif name == "table3":
        grids = table_layers.layout(frame, distances(p.embeddings, p.encoders))
    elif name == "table6":
        grids = table_steps.layout(frame)
    elif name == "table7":
        grids = table_stability.layout(frame)
    elif name == table_released.NAME:
        grids = table_released.layout(frame, metrics(p.embeddings, p.encoders))
    else:
        grids = table_variants.layout(frame, metrics(p.embeddings, p.encoders))
    words = read_json(tables / WORDS)[name]
    return Page(name, **words | {"notes": tuple(words["notes"])}, grids=tuple(grids))


def _words(p: TablesSettings, name: str, tables: Path, measured: Sequence[Metric], paper: Paper) -> dict[str, Any]:
    frame = read_frame(tables / f"{name}.csv")
    notes: list[str] = []
    if name in ("table2", "table3"):
        notes = [_not_run(p, name, frame, paper), COST]
    if name == "table1":
        reading = table_scd.reading(frame)
    elif name == "table6":
        reading = table_steps.reading(frame)
    elif name == "table7":
        reading = table_stability.reading(frame)
    elif name == table_released.NAME:
        reading, notes = table_released.reading(frame, measured), table_released.notes(frame)
    elif name in table_variants.TITLES:
        reading = table_variants.reading(frame, read_frame(tables / "table2.differences.csv"), measured)
        notes = [table_variants.missing(frame)]
    elif name == "table2":
        reading = table_scores.reading(_differences(tables, frame), measured)
        gaps = _differences(tables, frame)
        notes[:0] = [
            table_scores.unintelligible(gaps),
            table_scores.trainings(frame),
            table_scores.detectable(gaps, measured),
        ]
        notes.insert(1, table_scores.control_note(read_frame(tables / "table2.differences.csv"), measured))
    else:
        shown = distances(p.embeddings, p.encoders)
        reading = table_layers.reading(frame, shown)
        gaps = read_frame(tables / "table2.differences.csv")
        notes.insert(0, table_scores.detectable(gaps[gaps["method"].isin(frame["method"])], shown))
    return {
        "title": TITLES[name],
        "note": data_note(p),
        "caption": caption(p, name),
        "reading": reading,
        "notes": [note for note in notes if note],
    }


def data_note(p: TablesSettings | ClaimsSettings | ReportSettings) -> str:
    """What data an experiment was measured on."""
    return p.data_note + (" Scored on the validation split." if p.split == "validation" else "")


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


def _not_run(p: TablesSettings, name: str, frame: pd.DataFrame, paper: Paper) -> str:
    run_here = {arm.paper[name] for arm in p.rows.values() if name in arm.paper and arm.label in set(frame["method"])}
    missing = [method for method in paper.methods(name) if method not in run_here]
    number = name.removeprefix("table")
    return f"Rows of the paper's Table {number} that this experiment did not run: {'; '.join(missing)}." if missing else ""
