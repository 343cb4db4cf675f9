"""The graph of the stages as it was run, from what the run cards say each job read and wrote."""

from __future__ import annotations

import io
from typing import Any

import matplotlib.style
import networkx
from matplotlib.figure import Figure

from agrepa.reporting.style import GREY, STYLE

Cards = list[dict[str, Any]]
FILL, EDGE = "#eef3f8", "#0072b2"
# The same ids in every drawing, and text as text.
SVG = {"svg.hashsalt": "agrepa", "svg.fonttype": "none", "figure.constrained_layout.use": False}


def stage_graph(cards: Cards) -> networkx.DiGraph:
    """Stages as nodes (``jobs``: how many; ``does``: what, in words), an edge where one reads what another wrote.

    A stage that stands in a circle (it makes an index of what several others write, one after the other) is drawn once for each
    of its wildcards.
    """
    graph = _graph(cards, set())
    circles = set().union(*(part for part in networkx.strongly_connected_components(graph) if len(part) > 1))
    tries = iter([*({stage} for stage in sorted(circles)), circles])
    while not networkx.is_directed_acyclic_graph(graph):
        graph = _graph(cards, next(tries))
    return graph


def _graph(cards: Cards, apart: set[str]) -> networkx.DiGraph:
    names = [
        " ".join([card["stage"], *map(str, card.get("wildcards", {}).values())]) if card["stage"] in apart else card["stage"]
        for card in cards
    ]
    writer = {path: name for card, name in zip(cards, names, strict=True) for path in card.get("outputs", {})}
    graph = networkx.DiGraph()
    for card, name in zip(cards, names, strict=True):
        jobs = graph.nodes[name]["jobs"] if name in graph else 0
        graph.add_node(name, jobs=jobs + 1, does=card.get("does") or card["stage"])
    for card, name in zip(cards, names, strict=True):
        graph.add_edges_from((writer[path], name) for path in card.get("inputs", {}) if writer.get(path, name) != name)
    return graph


def stages(graph: networkx.DiGraph) -> list[tuple[str, int, str]]:
    """(stage, number of jobs, what it does) of every stage, each behind those that it reads from."""
    order = networkx.lexicographical_topological_sort(graph)
    return [(stage, graph.nodes[stage]["jobs"], graph.nodes[stage]["does"]) for stage in order]


def places(graph: networkx.DiGraph) -> tuple[networkx.DiGraph, dict[tuple[str, int], tuple[float, int]]]:
    """Lines between points (stage, row), without those that others imply, and where every point stands, x and y.

    A stage stands in the row behind the last that it reads from. It has one line downwards, which passes the rows between as
    points in them and from which the lines to its readers branch off; points stand in the order of what is above them.
    """
    reduced = networkx.transitive_reduction(graph)
    rows = {stage: row for row, stages in enumerate(networkx.topological_generations(reduced)) for stage in stages}
    lines = networkx.DiGraph()
    # In sorted order, for a set of names has another order in every process.
    lines.add_nodes_from(sorted(rows.items()))
    for stage, reader in sorted(reduced.edges):
        networkx.add_path(lines, [*((stage, row) for row in range(rows[stage], rows[reader])), (reader, rows[reader])])
    at: dict[tuple[str, int], tuple[float, int]] = {}
    for points in networkx.topological_generations(lines):
        above = {point: [at[parent][0] for parent in lines.predecessors(point)] for point in points}
        ordered = sorted(points, key=lambda point: (sum(above[point]) / max(len(above[point]), 1), point))
        at |= {point: (column - (len(ordered) - 1) / 2, -point[1]) for column, point in enumerate(ordered)}
    return lines, at


def drawing(graph: networkx.DiGraph) -> bytes:
    """The graph as SVG, every stage below all that it reads from."""
    lines, at = places(graph)
    boxes = {(stage, min(row for name, row in at if name == stage)): (stage, jobs) for stage, jobs, _ in stages(graph)}
    words = {point: f"{stage} \N{MULTIPLICATION SIGN} {jobs}" if jobs > 1 else stage for point, (stage, jobs) in boxes.items()}
    width, height = (max(axis) - min(axis) for axis in zip(*at.values(), strict=True))
    with matplotlib.style.context(["default", STYLE | SVG]):
        figure = Figure(figsize=(1.5 * (width + 1), 0.5 * (height + 1)))
        axes = figure.add_axes((0, 0, 1, 1), frameon=False)
        axes.margins(0.5 / max(width, 1), 0.5 / max(height, 1))
        networkx.draw_networkx_edges(lines, at, edgelist=sorted(lines.edges), ax=axes, arrows=False, edge_color=GREY)
        box = {"boxstyle": "round", "facecolor": FILL, "edgecolor": EDGE}
        networkx.draw_networkx_labels(lines, at, words, ax=axes, font_size=9, bbox=box)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
