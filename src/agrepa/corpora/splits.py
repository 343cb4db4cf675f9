"""Which split each of a person's own recordings is in: the one that the CSV names, or one that a seed draws."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import networkx as nx

from agrepa.corpora.clip import plain
from agrepa.corpora.manifest import SPLITS
from agrepa.corpora.ordering import PRIORITY
from agrepa.domains import DOMAINS

if TYPE_CHECKING:
    from agrepa.params.corpora import Source

UNKNOWN = "unknown"  # the speaker of speech of which the CSV names none


@dataclass
class Recording:
    """A row of the CSV whose audio can be used.

    Attributes:
        number: the line of the file, which counts from 1 with the header.
        path: as the CSV names it.
        speaker: for ``audio`` what several recordings have in common, or nothing.
        split: "" until one is drawn.
        content: hash of the samples.
        usable: of a length that the experiment takes; what is not has no part in the shares.
    """

    number: int
    path: str
    domain: str
    text: str
    speaker: str
    split: str
    content: str
    usable: bool

    def says(self) -> str:
        """By what transcripts are compared; nothing for ``audio``."""
        return plain(self.text) if self.domain == "speech" else ""


def assign(recordings: list[Recording], source: Source) -> tuple[set[int], list[str]]:
    """Give each recording its split, in place.

    Where the CSV names none, whole units are drawn: what one speaker says, or one utterance; sounds with a name in common; the
    same audio twice; and with ``shared_texts: move`` all utterances of one transcript. Units come in the order of the hash of
    seed and path, so that the draw does not depend on the order of the CSV. One of which a part has a split goes there.

    Returns the rows that ``shared_texts: drop`` leaves out, and what a person has to know about the rest.
    """
    notes, dropped = [], set()
    if source.shared_texts == "move":
        shared, moved = _shared(recordings), 0
        for group in shared:
            first = _first(group)
            moved += sum(r.split not in ("", first) for r in group)
            for recording in group:
                recording.split = first
        if shared:
            count, which = sum(map(len, shared)), f"{len(shared)} transcripts, each of which stays in one split"
            notes.append(f"{count} utterances share {which}; {moved} moved from the split that the CSV names")
    units = _units(recordings, source)
    for domain in DOMAINS:
        # A speaker's laughter is of the unit of what the speaker says.
        own = [unit for unit in units if ("speech" if any(r.domain == "speech" for r in unit) else "audio") == domain]
        if source.split_by is not None and 0 < len(own) < len(SPLITS):
            notes.append(f"{len(own)} of {domain} to be kept whole cannot fill {len(SPLITS)} splits: add recordings of others")
        _draw(own, source)
    if source.shared_texts == "drop":
        dropped = {r.number for group in _shared(recordings) for r in group if r.split != _first(group)}
        notes.append(f"{len(dropped)} utterances left out whose transcripts another split has")
    return dropped, notes


def leaks(recordings: list[Recording], source: Source) -> list[tuple[int, str]]:
    """Speakers, unless the split is by utterance, and transcripts that are in two splits: the second row and what is wrong."""
    found = []
    speakers: dict[str, Recording] = {}
    texts: dict[str, Recording] = {}
    for recording in (r for r in recordings if r.domain == "speech" and r.split):
        name, said = recording.speaker, recording.says()
        if source.split_by != "utterance" and (first := speakers.setdefault(name, recording)).split != recording.split:
            message = f"{recording.path}: speaker {name!r} is in more than one split, first in {first.split}: keep it in one"
            found.append((recording.number, f"{message}, or set split_by: utterance"))
        if said and (first := texts.setdefault(said, recording)).split != recording.split:
            message = f"transcript {said[:60]!r} is in more than one split: {first.path} ({first.split})"
            remedy = "keep it in one, or set shared_texts: move or drop"
            found.append((recording.number, f"{message}, {recording.path} ({recording.split}): {remedy}"))
    return found


def _units(recordings: list[Recording], source: Source) -> list[list[Recording]]:
    """Recordings that have something in common, directly or through others."""
    graph = nx.Graph((recording.number, tie) for recording in recordings for tie in _ties(recording, source))
    return [[r for r in recordings if r.number in together] for together in nx.connected_components(graph)]


def _ties(recording: Recording, source: Source) -> list[Hashable]:
    """What a recording shares with others of its unit."""
    ties: list[Hashable] = [("audio", recording.content)]
    if recording.speaker and source.split_by == "speaker":
        ties.append(("speaker", recording.speaker))
    elif recording.speaker and recording.domain == "audio":
        ties.append(("sounds", recording.speaker))  # they stay together, whatever somebody of that name says elsewhere
    if source.shared_texts == "move" and recording.says():
        ties.append(("text", recording.says()))
    return ties


def _draw(units: list[list[Recording]], source: Source) -> None:
    """Splits for the units of one domain: test and validation get their shares of the usable recordings, training the rest.

    In the order of the draw a split takes each unit that it still has room for; if it has none at all, the smallest.
    """
    for unit in units:
        split = _first(unit)
        for recording in unit:
            recording.split = recording.split or split
    if source.split_by is None:
        return
    left = [unit for unit in units if not unit[0].split and _size(unit)]
    left.sort(key=lambda unit: min(_order(source.split_seed, recording.path) for recording in unit))
    for name in ("test", "validation"):
        has = sum(r.usable for unit in units for r in unit if r.split == name)
        room = max(1, round(getattr(source.shares, name) * sum(map(_size, units)))) - has
        taken = []
        for unit in left:
            if _size(unit) <= room:
                taken.append(unit)
                room -= _size(unit)
        if left and not taken and not has:
            taken = [min(left, key=_size)]
        for recording in (r for unit in taken for r in unit):
            recording.split = name
        left = [unit for unit in left if not unit[0].split]
    for recording in (r for unit in units for r in unit):
        recording.split = recording.split or "train"


def _size(unit: list[Recording]) -> int:
    return sum(recording.usable for recording in unit)


def _first(recordings: list[Recording]) -> str:
    """Of the splits that recordings are in the one that keeps what is in several; nothing where they are in none."""
    return next((split for split in PRIORITY if any(r.split == split for r in recordings)), "")


def _shared(recordings: list[Recording]) -> list[list[Recording]]:
    """The utterances of each transcript that there is more than once."""
    groups: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        groups[recording.says()].append(recording)
    return [group for said, group in groups.items() if said and len(group) > 1]


def _order(seed: int, path: str) -> bytes:
    return hashlib.sha256(f"{seed}/{path}".encode()).digest()
