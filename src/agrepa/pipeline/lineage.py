"""Run cards as a graph: gather them beside the results, and follow any file back to archives and commit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agrepa.artifacts.files import read_json, read_table, sha256
from agrepa.errors import ArtifactError
from agrepa.job import In, Ins, Out

if TYPE_CHECKING:
    from agrepa.params.stages import Settings

CARD = ".card.json"
CORPUS = "corpus.csv"


def gather(p: Settings, *, cards: Ins, manifest: In, out: Out) -> None:
    """Gather the run cards behind the tables, so that they are kept with the results.

    Each is named after its place: ``work/demo/a/b.card.json`` -> ``work.demo.a.b.card.json``. ``corpus.csv`` beside them says
    how much audio the jobs had to do with, without which their seconds cannot be scaled to other corpora.
    """
    out.mkdir(parents=True, exist_ok=True)
    clips = read_table(manifest).groupby(["split", "domain"]).seconds.agg(["size", "sum"])
    clips.set_axis(["clips", "seconds"], axis=1).round(2).to_csv(out / CORPUS)
    for card in cards:
        name = ".".join(card.parts)
        shutil.copyfile(card, out / (name if name.endswith(CARD) else name.removesuffix(".json") + CARD))


def load(folders: list[Path]) -> dict[str, dict[str, Any]]:
    """Output path -> the card of the job that wrote it, from every card below ``folders``; later folders win."""
    written: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for path in sorted([*folder.rglob(f"*{CARD}"), *folder.glob("cards/*.json")]):
            card = read_json(path)
            written |= dict.fromkeys(card.get("outputs", {}), card)
    return written


def lineage(path: Path, cards: dict[str, dict[str, Any]]) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """Everything behind a file: (depth, path, card), parents first listed once; files without a card have None.

    Raises ArtifactError when no card mentions the file.
    """
    wanted = str(path)
    if wanted not in cards:
        inside = [output for output in cards if wanted.startswith(output + "/")]
        if not inside:
            raise ArtifactError(
                f"no run card mentions {path}: name an output of a stage, e.g. one of {', '.join(sorted(cards)[:3])}"
            )
        wanted = inside[0]
    seen = set()

    def walk(name: str, depth: int) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
        card = cards.get(name)
        yield depth, name, card
        for parent in (card or {}).get("inputs", {}):
            if parent not in seen:
                seen.add(parent)
                yield from walk(parent, depth + 1)

    yield from walk(wanted, 0)


def changed_since(path: Path, cards: dict[str, dict[str, Any]]) -> bool:
    """Whether the file is no longer what its run card says was written."""
    card = cards.get(str(path))
    return card is not None and path.exists() and sha256(path) != card["outputs"][str(path)]


def describe(depth: int, name: str, card: dict[str, Any] | None) -> str:
    """One line of a lineage: the file, the stage that wrote it, its commit, time and seed."""
    indent = "  " * depth
    if card is None:
        return f"{indent}{name}  (no run card: an input from outside)"
    git = card["git"] or {"commit": "no git", "dirty": False}
    commit = git["commit"][:10] + (" + local changes" if git["dirty"] else "")
    made = f"{card['stage']} at {commit}, {card['started']}, {card['seconds']} s, seed {card['seed']}"
    return f"{indent}{name}  <- {made}, sha256 {card['outputs'][name][:12]}"
