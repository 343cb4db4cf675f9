"""The graph of the stages as it was run: drawn from what the run cards say each job read and wrote."""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

import networkx

from agrepa.artifacts import read_json

WIDTH, HEIGHT, GAP_X, GAP_Y = 132, 26, 14, 24  # of a box and between boxes, in pixels


def stage_graph(cards: list[dict[str, Any]]) -> networkx.DiGraph:
    """Stages as nodes (``jobs``: how many), an edge where one reads what the other wrote, without those that others imply."""
    writer = {path: card["stage"] for card in cards for path in card.get("outputs", {})}
    graph = networkx.DiGraph()
    for stage, jobs in Counter(card["stage"] for card in cards).items():
        graph.add_node(stage, jobs=jobs)
    for card in cards:
        for path in card.get("inputs", {}):
            if writer.get(path, card["stage"]) != card["stage"]:
                graph.add_edge(writer[path], card["stage"])
    reduced = networkx.transitive_reduction(graph)
    reduced.add_nodes_from(graph.nodes(data=True))
    return reduced


def places(graph: networkx.DiGraph) -> dict[str, tuple[float, int]]:
    """Stage -> (x of its middle in boxes from the centre line, row): each stage in the row behind the last that it reads from.

    Within a row stages stand in the order of those they read from, so that few lines cross.
    """
    found: dict[str, tuple[float, int]] = {}
    for row, stages in enumerate(networkx.topological_generations(graph)):
        above = {stage: [found[parent][0] for parent in graph.predecessors(stage)] for stage in stages}
        ordered = sorted(stages, key=lambda stage: (sum(above[stage]) / max(len(above[stage]), 1), stage))
        found |= {stage: (column - (len(ordered) - 1) / 2, row) for column, stage in enumerate(ordered)}
    return found


def drawing(folder: Path) -> str:
    """The graph of the run cards in a folder as SVG; empty where there are none."""
    graph = stage_graph([read_json(path) for path in sorted(folder.glob("*.json"))])
    if not graph.number_of_edges():
        return ""
    at = places(graph)
    half = max(abs(x) for x, _ in at.values()) + 0.5
    width, height = 2 * half * (WIDTH + GAP_X), (max(row for _, row in at.values()) + 1) * (HEIGHT + GAP_Y)
    middle = {stage: ((x + half) * (WIDTH + GAP_X), row * (HEIGHT + GAP_Y) + GAP_Y / 2) for stage, (x, row) in at.items()}
    lines = []
    for source, target in sorted(graph.edges):
        (x1, y1), (x2, y2) = middle[source], middle[target]
        y1, bend = y1 + HEIGHT, (y2 - y1 - HEIGHT) / 2
        path = f"M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"
        lines.append(f'<path d="{path}" fill="none" stroke="#767676" marker-end="url(#arrow)"/>')
    for stage, (x, y) in sorted(middle.items()):
        jobs = graph.nodes[stage]["jobs"]
        words = escape(stage) + (f" \N{MULTIPLICATION SIGN} {jobs}" if jobs > 1 else "")
        lines.append(
            f'<rect x="{x - WIDTH / 2:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="4" fill="#eef3f8" stroke="#0072b2"/>'
            f'<text x="{x:g}" y="{y + HEIGHT / 2:g}" text-anchor="middle" dominant-baseline="central">{words}</text>'
        )
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#767676"/></marker></defs>'
    )
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="The stages and how each feeds the next"'
        f' style="max-width:{width:g}px;width:100%" font-family="sans-serif" font-size="12">{arrow}{"".join(lines)}</svg>'
    )
