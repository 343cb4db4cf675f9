"""The graph of the stages as it was run: drawn from what the run cards say each job read and wrote."""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

import networkx

from agrepa.artifacts import read_json

Point = tuple[str, int]  # a stage, and the row where it or a line from it stands
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


def layered(graph: networkx.DiGraph) -> networkx.DiGraph:
    """The graph with every stage in the row behind the last that it reads from, and lines that pass rows as points in them.

    A stage has one line downwards, from which the lines to its readers branch off.
    """
    rows = {stage: row for row, stages in enumerate(networkx.topological_generations(graph)) for stage in stages}
    drawn = networkx.DiGraph()
    for stage, row in rows.items():
        drawn.add_node((stage, row))
        for reader in graph.successors(stage):
            networkx.add_path(drawn, [*((stage, passed) for passed in range(row, rows[reader])), (reader, rows[reader])])
    return drawn


def places(drawn: networkx.DiGraph) -> dict[Point, float]:
    """Point -> x of its middle, in boxes from the centre line; rows stand in the order of what is above, so few lines cross."""
    found: dict[Point, float] = {}
    for points in networkx.topological_generations(drawn):
        above = {point: [found[parent] for parent in drawn.predecessors(point)] for point in points}
        ordered = sorted(points, key=lambda point: (sum(above[point]) / max(len(above[point]), 1), point))
        found |= {point: column - (len(ordered) - 1) / 2 for column, point in enumerate(ordered)}
    return found


def drawing(folder: Path) -> str:
    """The graph of the run cards in a folder as SVG; empty where there are none."""
    graph = stage_graph([read_json(path) for path in sorted(folder.glob("*.json"))])
    if not graph.number_of_edges():
        return ""
    drawn = layered(graph)
    at = places(drawn)
    half = max(map(abs, at.values())) + 0.5
    width, height = 2 * half * (WIDTH + GAP_X), (max(row for _, row in at) + 1) * (HEIGHT + GAP_Y)
    middle = {point: ((x + half) * (WIDTH + GAP_X), point[1] * (HEIGHT + GAP_Y) + GAP_Y / 2) for point, x in at.items()}
    stages = {stage: min(row for other, row in drawn if other == stage) for stage in graph}
    lines = []
    for source, target in sorted(drawn.edges):
        (x1, y1), (x2, y2) = middle[source], middle[target]
        y1 += HEIGHT
        curve = f"M{x1:g} {y1:g}C{x1:g} {(y1 + y2) / 2:g} {x2:g} {(y1 + y2) / 2:g} {x2:g} {y2:g}"
        # A line that only passes this row goes straight through it.
        ends = stages[target[0]] == target[1]
        curve += "" if ends else f"V{y2 + HEIGHT:g}"
        marker = ' marker-end="url(#arrow)"' if ends else ""
        lines.append(f'<path d="{curve}" fill="none" stroke="#767676"{marker}/>')
    for stage, row in sorted(stages.items()):
        (x, y), jobs = middle[stage, row], graph.nodes[stage]["jobs"]
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
