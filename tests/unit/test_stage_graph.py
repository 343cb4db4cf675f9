"""The graph of stages on the page: what run cards tell of, and where it is drawn."""

from __future__ import annotations

from typing import Any

from agrepa.reporting import dag


def card(stage: str, reads: list[str], writes: list[str], **more: Any) -> dict[str, Any]:
    return {"stage": stage, "inputs": dict.fromkeys(reads, "1"), "outputs": dict.fromkeys(writes, "1"), **more}


def test_the_graph_of_stages_is_the_one_that_the_cards_tell_of() -> None:
    cards = [
        card("fetch", [], ["a"], does="Download"),
        card("fetch", [], ["b"], does="Download"),
        card("prepare", ["a", "b"], ["c"]),
        card("mel", ["c"], ["d"]),
        card("train", ["c", "d", "outside"], ["e"]),
    ]
    graph = dag.stage_graph(cards)
    assert dag.stages(graph) == [("fetch", 2, "Download"), ("prepare", 1, "prepare"), ("mel", 1, "mel"), ("train", 1, "train")]
    lines, at = dag.places(graph)
    assert {(one[0], other[0]) for one, other in lines.edges} == {("fetch", "prepare"), ("prepare", "mel"), ("mel", "train")}
    assert at == {("fetch", 0): (0, 0), ("prepare", 1): (0, -1), ("mel", 2): (0, -2), ("train", 3): (0, -3)}


def test_a_stage_that_serves_several_others_in_turn_is_drawn_once_for_each() -> None:
    """An index over the shards of whichever stage: encode -> index -> tokenize -> index -> train."""
    cards = [
        card("encode", [], ["a"], wildcards={"encoder": "x"}),
        card("index", ["a"], ["b"], wildcards={"name": "x"}),
        card("tokenize", ["b"], ["c"], wildcards={"shard": "0"}),
        card("tokenize", ["b"], ["d"], wildcards={"shard": "1"}),
        card("index", ["c", "d"], ["e"], wildcards={"name": "tokens"}),
        card("train", ["e"], ["f"]),
    ]
    found = [(stage, jobs) for stage, jobs, _ in dag.stages(dag.stage_graph(cards))]
    assert found == [("encode", 1), ("index x", 1), ("tokenize", 2), ("index tokens", 1), ("train", 1)]


def test_a_line_to_a_later_row_passes_between_the_stages_of_the_rows_before() -> None:
    read = {"a": [], "b": ["a"], "c": ["b"], "late": ["a", "c"], "side": ["a"], "end": ["side", "late"]}
    lines, at = dag.places(dag.stage_graph([card(stage, reads, [stage]) for stage, reads in read.items()]))
    assert all(target[1] == source[1] + 1 for source, target in lines.edges)
    assert {("side", row) for row in (1, 2, 3)} <= set(lines), "the line from side to end has a place in rows 2 and 3"
    assert len(set(at.values())) == len(at), "nothing stands on anything else"
