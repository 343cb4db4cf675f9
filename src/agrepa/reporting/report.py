"""Stage ``report``: one self-contained HTML page of an experiment. It makes no request and runs no script."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agrepa.artifacts.files import read_json
from agrepa.domains import DOMAINS
from agrepa.errors import ArtifactError
from agrepa.evaluation.rows import ANCHORS, CONTROLS
from agrepa.job import In, Out
from agrepa.reporting import answer, claims_page, dag, table_cost
from agrepa.reporting.collected import labels, read_scores, read_selections
from agrepa.reporting.figures import FIGURES
from agrepa.reporting.figures_listening import image
from agrepa.reporting.kept_clips import Clip, read_clips
from agrepa.reporting.layout import listed
from agrepa.reporting.metrics import metrics
from agrepa.reporting.table_scores import aligned, differences, provenance, shown
from agrepa.reporting.tables import NAMES as TABLES
from agrepa.reporting.tables import read_frame, read_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from agrepa.params.arms import Arm
    from agrepa.params.stages import ReportSettings

PROBE_FIGURES = ("scd_heatmap.png", "store_vs_contribute.png", "layer_importance.png", "fog_a_trend.png")
TRAINING_FIGURES = ("loss_curves.png",)
SCORE_FIGURES = ("differences.png", "scores.png")


def run(
    p: ReportSettings,
    *,
    scores: In,
    tables: In,
    figures: In,
    claims: In,
    listening: In,
    selections: In,
    cards: In,
    attribution: In,
    template: In,
    out: Out,
) -> None:
    """One self-contained page of everything.

    Args:
        scores: ``scores.csv``.
        tables, figures, listening, selections, cards: folders, as their stages leave them; that of the run cards may be empty.
        claims: ``claims.csv``.
        attribution: Markdown.
        template: Jinja template of the page.
        out: the HTML file.

    Raises ArtifactError naming the file when a table, figure, clip, the attribution or the template is missing.
    """
    if not template.exists():
        raise ArtifactError(f"{template}: no such template: run from the root of the repository, or give its path")
    clips, kept = read_clips(listening), read_cards(cards)
    graph = dag.stage_graph([card["card"] for card in kept])
    pages = {name: read_page(p, name, tables) for name in TABLES}
    cost = read_frame(tables / f"{table_cost.NAME}.csv")
    pages |= {name: table_cost.under(page, cost) for name, page in pages.items() if name in ("table2", "table3")}
    found = read_scores(scores)
    measured = metrics(p.embeddings, p.encoders, set(found["metric"]))
    behind = provenance(p.rows, found, measured)
    rows = labels(p.rows, sorted({row for clip in clips for row in clip.mels}))
    shown_clips = [players(clip, rows) for clip in clips]
    environment = Environment(
        loader=FileSystemLoader(template.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template(template.name).render(
        name=p.name,
        note=p.data_note,
        fixed_rows=[*ANCHORS.values(), *CONTROLS.values()],
        stages=dag.stages(graph),
        dag=data_uri(Path("dag.svg"), dag.drawing(graph)) if graph.number_of_edges() else "",
        pages=pages,
        claims=claims_page.page(p, claims_page.read_claims(claims)),
        links=links(behind, kept),
        probe_figures=[picture(figures / name) for name in PROBE_FIGURES],
        training_figures=[picture(figures / name) for name in TRAINING_FIGURES],
        score_figures=[picture(figures / name) for name in SCORE_FIGURES],
        clips=shown_clips,
        answer=answer.sentences(shown(p.rows, found), found, differences(p.rows, found, measured)),
        heard=answer.heard(shown_clips),
        selections=chosen(p.rows, read_selections(selections)),
        cards=kept,
        attribution=_text(attribution),
    )
    out.write_text(html, encoding="utf-8")


def data_uri(path: Path, content: bytes | None = None) -> str:
    """A file, or content with the path's suffix, as a data URI; ArtifactError when the file is missing."""
    kinds = {".png": "image/png", ".svg": "image/svg+xml", ".flac": "audio/flac"}
    if path.suffix not in kinds:
        raise ArtifactError(f"{path}: cannot stand in the page: give one of {', '.join(kinds)}")
    if content is None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ArtifactError(f"{path} is missing: run the stage that writes it") from None
    return f"data:{kinds[path.suffix]};base64,{base64.b64encode(content).decode()}"


def picture(path: Path) -> dict[str, str]:
    """A figure with its alternative text."""
    return {"name": path.stem, "source": data_uri(path), "alt": FIGURES[path.name]}


def players(clip: Clip, rows: Mapping[str, str]) -> dict[str, Any]:
    """One clip: every row's spectrogram and, where audio was kept, its player."""
    lines = [
        {
            "label": label,
            "spectrogram": data_uri(Path("mel.png"), image(clip.mels[row])),
            "audio": data_uri(clip.audio[row]) if row in clip.audio else None,
        }
        for row, label in rows.items()
        if row in clip.mels
    ]
    return {"name": clip.name, "domain": clip.domain, "words": clip.words, "seconds": clip.seconds, "rows": lines}


def chosen(rows: Mapping[str, Arm], selections: dict[str, Any]) -> list[dict[str, str]]:
    """What every arm aligns, one line an (arm, domain), in the order of the tables."""
    lines = []
    for arm in (name for name in rows if name in selections):
        for domain in DOMAINS:
            layers, weights = aligned(rows, selections, arm, domain)
            lines.append(
                {
                    "arm": rows[arm].label,
                    "strategy": rows[arm].strategy,
                    "domain": domain,
                    "layers": re.sub(r"(\d+)", r"L\1", listed(layers)) if layers else "none",
                    "weights": listed(weights),
                }
            )
    return lines


def read_cards(folder: Path) -> list[dict[str, Any]]:
    """The run cards that were kept, in the order of their names, and how the page shows each."""
    cards = []
    for path in sorted(folder.glob("*.json")):
        card = read_json(path)
        wildcards = " ".join(f"{key}={value}" for key, value in sorted(card.get("wildcards", {}).items()))
        cards.append(
            {
                "card": card,
                "path": path.name,
                "anchor": f"card-{path.stem.replace('.', '-')}",
                "summary": f"{card['stage']} {wildcards}".strip(),
                "text": json.dumps(card, indent=1, sort_keys=True),
            }
        )
    return cards


def links(behind: pd.DataFrame, cards: list[dict[str, Any]]) -> dict[str, str]:
    """Anchors by ``method/metric``, for those scores whose run card was kept.

    A score names its card by the place where its job left it, e.g. ``work/demo/a/b.card.json``; the kept copy is called
    ``work.demo.a.b.card.json``. A score over several seeds names several and links to the first.

    Args:
        behind: method, metric and card of every score.
    """
    known = {card["path"]: card["anchor"] for card in cards}
    found: dict[str, str] = {}
    for line in behind.itertuples():
        anchors = [known[name] for name in (path.replace("/", ".") for path in line.card.split()) if name in known]
        if anchors:
            found[f"{line.method}/{line.metric}"] = anchors[0]
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing: run the stage attribution, for no recording goes without its authors") from None
