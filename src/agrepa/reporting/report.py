"""Stage ``report``: one self-contained HTML page of an experiment. It makes no request and runs no script."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agrepa.artifacts import read_json
from agrepa.domains import DOMAINS
from agrepa.errors import ArtifactError
from agrepa.reporting import dag, figures, tables
from agrepa.reporting.collected import labels, read_selections, selected
from agrepa.reporting.figures_listening import image
from agrepa.reporting.listening import Clip, read_clips

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agrepa.params import Arm, Experiment

TEMPLATE = Path("workflow/report/report.html.j2")
STAGES = (
    ("fetch", "download the pinned archives and check their hashes"),
    ("prepare", "recordings to clips and a manifest, split by speaker and source"),
    ("mel, encode", "log-mel spectrograms; features of the frozen networks"),
    ("codebook, tokenize", "quantise the features to token sequences"),
    ("warmup", "Phase I: train Base for a while"),
    ("fog_a, lasp, gradient_norm", "probe every layer of the frozen model"),
    ("select", "choose layers and weights, one selection an arm"),
    ("train", "Phase II: every arm from the same warm-up"),
    ("anchor, synthesize", "audio of every row from the same clips"),
    ("wer, units, mos, fad", "measure every row"),
    ("scores", "gather, with intervals and differences to Base"),
    ("tables, figures, report", "this page"),
)
PROBE_FIGURES = ("scd_heatmap.png", "store_vs_contribute.png", "layer_importance.png", "fog_a_trend.png")
TRAINING_FIGURES = ("loss_curves.png",)
SCORE_FIGURES = ("differences.png", "scores.png")


def run(p: Experiment, results: Path, out: Path, template: Path = TEMPLATE) -> None:
    """Write the page.

    Args:
        results: ``results/<experiment>`` with ``scores/``, ``tables/``, ``figures/``, ATTRIBUTION.md and, where kept, ``cards/``.
        out: the HTML file.
        template: Jinja template of the page.

    Raises ArtifactError naming the file when a table, figure, clip, the attribution or the template is missing.
    """
    if not template.exists():
        raise ArtifactError(f"{template}: no such template: run from the root of the repository, or give its path")
    scores = results / "scores"
    clips, cards = read_clips(scores), read_cards(results / "cards")
    pages = {name: tables.read_page(name, results / "tables") for name in tables.NAMES}
    rows = labels(p.rows, sorted({row for clip in clips for row in clip.mels}))
    environment = Environment(
        loader=FileSystemLoader(template.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template(template.name).render(
        name=p.name,
        note=p.reporting.data_note,
        stages=STAGES,
        dag=dag.drawing(results / "cards"),
        pages=pages,
        links=links(results / "tables" / "table2.cards.csv", cards),
        probe_figures=[picture(results / "figures" / name) for name in PROBE_FIGURES],
        training_figures=[picture(results / "figures" / name) for name in TRAINING_FIGURES],
        score_figures=[picture(results / "figures" / name) for name in SCORE_FIGURES],
        clips=[players(clip, rows) for clip in clips],
        selections=chosen(p.rows, read_selections(scores)),
        cards=cards,
        attribution=_text(results / "ATTRIBUTION.md"),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html, encoding="utf-8")


def data_uri(path: Path, content: bytes | None = None) -> str:
    """A file, or content with the path's suffix, as a data URI; ArtifactError when the file is missing."""
    kinds = {".png": "image/png", ".flac": "audio/flac"}
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
    return {"name": path.stem, "source": data_uri(path), "alt": figures.FIGURES[path.name]}


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


def chosen(rows: Mapping[str, Arm], selections: Mapping[str, Any]) -> list[dict[str, str]]:
    """What every arm aligns, one line an (arm, domain), in the order of the tables."""
    lines = []
    for arm in (name for name in rows if name in selections):
        for domain in DOMAINS:
            layers, weights = selected(selections[arm], domain)
            lines.append(
                {
                    "arm": rows[arm].label,
                    "strategy": rows[arm].strategy,
                    "domain": domain,
                    "layers": ", ".join(f"L{layer}" for layer in layers) or "none",
                    "weights": ", ".join(f"{weight:.3f}" for weight in weights) or "-",
                }
            )
    return lines


def read_cards(folder: Path) -> list[dict[str, str]]:
    """The run cards that were kept, by name; none where the folder is absent (the page then says so)."""
    cards = []
    for path in sorted(folder.glob("*.json")):
        card = read_json(path)
        name = path.name
        wildcards = " ".join(f"{key}={value}" for key, value in sorted(card.get("wildcards", {}).items()))
        cards.append(
            {
                "path": name,
                "anchor": f"card-{name.removesuffix('.json').replace('.', '-')}",
                "summary": " ".join(filter(None, [str(card.get("stage", "")), wildcards])) or name,
                "text": json.dumps(card, indent=1, sort_keys=True),
            }
        )
    return cards


def links(table: Path, cards: list[dict[str, str]]) -> dict[str, str]:
    """Anchors by ``method/metric``, for those scores whose run card was kept.

    A score names its card by the place where its job left it, e.g. ``work/demo/a/b.card.json``; the kept copy is called
    ``work.demo.a.b.card.json``. A score over several seeds names several and links to the first.
    """
    known = {card["path"]: card["anchor"] for card in cards}
    found: dict[str, str] = {}
    for line in tables.read_frame(table).itertuples():
        anchors = [known[name] for name in (path.replace("/", ".") for path in line.card.split()) if name in known]
        if anchors:
            found[f"{line.method}/{line.metric}"] = anchors[0]
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing: run the stage attribution, for no recording goes without its authors") from None
