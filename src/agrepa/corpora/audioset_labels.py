"""A segment of AudioSet, and the classes that it has: their names, and which of them are left out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agrepa.errors import CorpusError

ONTOLOGY = "ontology.json"


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a video.

    Attributes:
        file: what the reader finds it by: a path below the corpus's folder, or a row of a parquet file.
        block: the row group that it is in, or nothing.
        labels: ids of its classes (``/m/09x0r``).
        names: their names, where the listing has them.
    """

    subset: str
    video: str
    file: str
    block: str
    seconds: float
    labels: tuple[str, ...]
    names: tuple[str, ...] = ()
    problem: str = ""


@dataclass
class Labels:
    """The classes of a corpus, and which clips are left out for theirs.

    Attributes:
        names: id -> name, from the ontology; nothing where the corpus's folder has none.
        left_out: labels that were asked for -> ids and names of classes that they stand for.
        met: those of them that a segment had.
    """

    names: dict[str, str]
    left_out: dict[str, set[str]]
    met: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, root: Path, without: list[str]) -> Labels:
        """Of the ontology in a folder, if it is there: a class that is left out is so with all below it.

        Raises CorpusError when the ontology is damaged or has no such class.
        """
        path = root / ONTOLOGY
        if not path.exists():
            return cls({}, {label: {label} for label in without})
        entries = _entries(path)
        ids = {entry["name"]: identity for identity, entry in entries.items()}
        left_out = {}
        for label in without:
            top = ids.get(label, label)
            if top not in entries:
                raise CorpusError(f"{path}: has no class {label!r}, which corpora.sources leaves out: correct its name or id")
            waiting, below = [top], set()
            while waiting:
                identity = waiting.pop()
                if identity not in below:
                    below.add(identity)
                    waiting += entries.get(identity, {}).get("child_ids", [])
            left_out[label] = below
        return cls({identity: entry["name"] for identity, entry in entries.items()}, left_out)

    def excluded(self, segment: Segment) -> bool:
        """Whether a segment has a class that is left out."""
        has = {*segment.labels, *segment.names}
        found = [label for label, classes in self.left_out.items() if classes & has]
        self.met.update(found)
        return bool(found)

    def check(self) -> None:
        """CorpusError when a label is to be left out that no segment had and no ontology knows: it may be misspelt."""
        if not self.names and (unknown := [label for label in self.left_out if label not in self.met]):
            raise CorpusError(
                f"no segment has the label {unknown[0]!r}, which corpora.sources leaves out: correct its name or id, or add "
                f"AudioSet's {ONTOLOGY} to the folder, which also finds the classes below it"
            )

    def name(self, segment: Segment) -> str:
        """The name of a segment's first class, by its id where there is no name."""
        first = segment.labels[0] if segment.labels else "audio"
        return segment.names[0] if segment.names else self.names.get(first, first)


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return {entry["id"]: {"child_ids": []} | {"name": entry["name"]} | entry for entry in json.loads(path.read_bytes())}
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path}: is not AudioSet's ontology ({error!r}): download it again") from None
