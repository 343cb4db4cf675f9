"""The order in which an experiment takes the clips of its corpora: seeded, even over speakers, nothing in two splits."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest

from agrepa.corpora.clip import Clip, Split, plain

PREFERRED_SECONDS = 1.0  # shorter utterances are evaluated only where there are too few of this length
PRIORITY: tuple[Split, ...] = ("test", "validation", "train")  # what is in two splits stays in the first of these


def groups(clips: list[Clip]) -> Iterator[tuple[str, list[Clip]]]:
    """The key of ``corpora.<split>`` that counts them, and the clips, for each list of a split, in the order of taking."""
    for key, domain, unseen in (("speech", "speech", False), ("unseen", "speech", True), ("audio", "audio", False)):
        evaluated = (clip for clip in clips if clip.listing != "prompt")
        yield key, [clip for clip in evaluated if clip.domain == domain and (clip.listing == "unseen") == unseen]


def without_leaks(clips: list[Clip]) -> list[Clip]:
    """Leave out of train what is also in validation or test, and out of validation what is also in test.

    Compared are transcripts (``plain``) and recordings; within a split a recording is kept once. Clips whose split a person
    has chosen stay, for ``manifest.check`` to complain about.
    """
    texts: dict[Split, set[str]] = {split: {plain(c.text) for c in clips if c.split == split} - {""} for split in PRIORITY}
    parts: dict[Split, set[str]] = {split: {p for c in clips if c.split == split for p in c.parts} for split in PRIORITY}
    kept, seen = [], set()
    for clip in clips:
        above = PRIORITY[: PRIORITY.index(clip.split)]
        said = any(plain(clip.text) in texts[split] for split in above)
        heard = any(part in parts[split] for split in above for part in clip.parts) or clip.parts in seen
        if clip.fixed or not (said or heard):
            kept.append(clip)
            seen.add(clip.parts)
    return kept


def ordered(clips: list[Clip], seed: int) -> list[Clip]:
    """The order in which clips of one split and domain are taken.

    For train a shuffle. For validation and test each family in turn, so that any first part of the list mixes all speakers
    and origins; utterances under PREFERRED_SECONDS come last. The order of two clips never depends on what else there is.
    """
    shuffled = sorted(clips, key=lambda clip: _draw(seed, clip.id))
    if not clips or clips[0].split == "train":
        return shuffled
    short = [c.domain == "speech" and c.seconds < PREFERRED_SECONDS for c in shuffled]
    groups = [[c for c, s in zip(shuffled, short, strict=True) if s == wanted] for wanted in (False, True)]
    return [clip for group in groups for clip in _in_turn(group, seed)]


def _in_turn(clips: list[Clip], seed: int) -> list[Clip]:
    families: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        families[clip.family].append(clip)
    queues = [families[name] for name in sorted(families, key=lambda name: _draw(seed, name))]
    return [clip for round_ in zip_longest(*queues) for clip in round_ if clip is not None]


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
