"""Speech with exact transcripts: the voices of the game Flight of the Amazon Queen."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agrepa.archives.containers import deb_members
from agrepa.audio import files
from agrepa.corpora import debian_copyright
from agrepa.corpora.clip import Clip, Split, plain, slug
from agrepa.corpora.kinds import Reader
from agrepa.corpora.queen_resources import Resources, lines, segments
from agrepa.errors import CorpusError

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora, Source

DATA = "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"
COPYRIGHT = "usr/share/doc/flight-of-the-amazon-queen/copyright"
RATE = 11025
PER_FILE = False  # one licence and one credit for all
MIN_CHARACTERS_PER_SECOND = 3  # a training clip with less text than that has sounds which its text does not mention
HELD_OUT: dict[str, Split] = {
    "JIM": "test",
    "ORACLE": "test",
    "LARIS": "test",
    "BUD": "validation",
    "NAOMI": "validation",
}
# Of every other character, utterances of their own are held out: at most so many, and at most one of so many.
BY_UTTERANCE: tuple[tuple[Split, int, int], ...] = (("test", 8, 4), ("validation", 4, 8))
MIN_WORDS = 3  # shorter utterances are often a sigh or a name, of which a recogniser makes nothing
# Part of a held-out utterance's words that other characters say too: no recogniser can spell the cries of an ape.
SHARED_WORDS = 0.6
# Cut scenes name the object that speaks, dialogues the character.
CHARACTERS = {
    "ANDERSON": "AND",
    "AZURA_OBJ": "PRIN",
    "BELLBOY": "LARIS",
    "FERRYMAN": "DEATH",
    "GORILLA": "APE",
    "GUARDIAN": "ORACLE",
    "GUARD_DOG": "DOG",
    "JIMMY": "JIM",
    "JOE_KING": "JOE",
    "MARY_LOU": "TAM",
    "PRINCESS_AZURA": "PRIN",
    "SECRETARY": "SEC",
    "SHOWERING_AMAZON": "SHOWERAM",
    "TRADER_BOB": "BOB",
    "WEDGEWOOD": "WEDGE",
    "WITCH_DOCTOR": "WITCH",
    "ZOMBIE_WOMAN": "ZOMBIE",
}
JOINED = "+"  # between the names of a clip's segments
UNSPOKEN = re.compile(r"<[^>]*>|\^_|[@#^]")  # described noises, trademark and heart signs


@dataclass(frozen=True)
class Utterance:
    """A spoken line: for every segment the name of its MP3 (``020001P2.SB``) and its text."""

    stem: str
    speaker: str
    partner: str
    segments: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        return spoken(self.segments)


def spoken(parts: tuple[tuple[str, str], ...]) -> str:
    """The text of consecutive segments without what the actor does not say."""
    return " ".join(UNSPOKEN.sub("", " ".join(text for _, text in parts)).split())


def utterances(resources: Resources) -> list[Utterance]:
    """All lines with clips, sorted by stem. A clip beyond the line's last segment of text is left out."""
    clips: dict[str, dict[int, str]] = defaultdict(dict)
    known = lines(resources)
    partners = {stem[:2]: line.speaker for stem, line in known.items() if re.fullmatch(r"\d\d.{4}P", stem)}
    for name in resources.names(".SB"):
        stem, number = name[:7], name[7:8]
        if stem in known and re.fullmatch("[0-9A-F]", number):
            clips[stem][int(number, 16)] = name
    result = []
    for stem, numbered in sorted(clips.items()):
        texts = dict(enumerate(segments(known[stem].text), 1))
        parts = tuple((name, texts[k]) for k, name in sorted(numbered.items()) if texts.get(k))
        partner = partners.get(stem[:2], "") if stem[6] == "J" else ""
        speaker = CHARACTERS.get(known[stem].speaker, known[stem].speaker)
        result.append(Utterance(stem, speaker, partner, parts))
    return result


def split(utterance: Utterance) -> Split | None:
    """The split of an utterance by its speaker. None where the speaker is unknown, or is Joe talking to a held-out character.

    The held-out characters are the unseen list; that two characters were played by one actor cannot be told.
    """
    if not utterance.speaker or utterance.partner in HELD_OUT:
        return None
    return HELD_OUT.get(utterance.speaker, "train")


def main_lists(found: Iterable[Clip]) -> dict[str, Split]:
    """Ids of the training speakers' clips that are held out instead, with their split: the main lists of test and validation.

    Each speaker's are drawn by the hash of their ids alone, so that a clip's place never depends on other speakers.
    """
    spoken_by: dict[str, list[str]] = defaultdict(list)
    for clip in found:
        spoken_by[clip.speaker].append(clip.id)
    result: dict[str, Split] = {}
    for own in spoken_by.values():
        drawn = iter(sorted(own, key=lambda identity: hashlib.sha256(identity.encode()).digest()))
        for name, most, one_of in BY_UTTERANCE:
            result |= {next(drawn): name for _ in range(min(most, len(own) // one_of))}
    return result


def of_language(clips: Iterable[Clip]) -> Iterator[Clip]:
    """The clips whose words are at least to SHARED_WORDS said by a second character as well."""
    clips = list(clips)
    said_by: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        for word in plain(clip.text).split():
            said_by[word].add(clip.speaker)
    for clip in clips:
        shared = [len(said_by[word]) > 1 for word in plain(clip.text).split()]
        if sum(shared) >= SHARED_WORDS * len(shared):
            yield clip


def pieces(utterance: Utterance, seconds: list[float], longest: float) -> list[tuple[tuple[tuple[str, str], ...], float]]:
    """Cut an utterance between segments into as few pieces of at most ``longest`` seconds as come from filling each in turn."""
    result: list[tuple[tuple[tuple[str, str], ...], float]] = []
    held: tuple[tuple[str, str], ...] = ()
    total = 0.0
    for part, length in zip(utterance.segments, seconds, strict=True):
        if held and total + length > longest:
            result.append((held, total))
            held, total = (), 0.0
        held, total = (*held, part), total + length
    return [*result, (held, total)] if held else result


def clips(archives: dict[str, Path], settings: Corpora, source: Source) -> list[Clip]:
    """Clips of all splits: utterances up to ``max_seconds``, longer ones cut between their segments.

    Test and validation have two lists each: the main one of whole utterances of the training speakers, the unseen one of the
    characters in HELD_OUT.

    Raises CorpusError when the archive is missing or damaged, or when its recordings cannot fill the bandwidth.
    """
    archive = _archive(archives, source)
    if 2 * settings.bandwidth_hz > RATE:
        raise CorpusError(
            f"corpus queen is recorded at {RATE} Hz and holds nothing up to bandwidth_hz {settings.bandwidth_hz}: "
            f"lower corpora.bandwidth_hz to {RATE / 2:.0f} or less"
        )
    members = deb_members(archive, lambda name: name in (DATA, COPYRIGHT))
    resources = Resources(members[DATA], str(archive))
    paragraph = debian_copyright.find(debian_copyright.parse(members[COPYRIGHT], str(archive)), "queen.1c")
    licence, holders = (paragraph.licence, paragraph.holders) if paragraph else ("", "")
    result, whole_utterances = [], []
    for utterance in utterances(resources):
        chosen = split(utterance)
        if chosen is None:
            continue
        lengths = [files.length(resources[name], name)[0] for name, _ in utterance.segments]
        whole = len(pieces(utterance, lengths, settings.max_seconds)) == 1
        for parts, seconds in pieces(utterance, lengths, settings.max_seconds):
            text = spoken(parts)
            too_little = chosen == "train" and len(text) < MIN_CHARACTERS_PER_SECOND * seconds
            if too_little or not re.search(r"[A-Za-z]", text):
                continue
            first = parts[0][0].removesuffix(".SB")
            result.append(
                Clip(
                    id=slug(source.archives[0], utterance.stem if whole else first),
                    corpus=source.archives[0],
                    domain="speech",
                    split=chosen,
                    file=f"{DATA}:{JOINED.join(name for name, _ in parts)}",
                    start=0.0,
                    seconds=seconds,
                    text=text,
                    speaker=slug(source.archives[0], utterance.speaker),
                    label="speech",
                    family=slug(source.archives[0], utterance.speaker),
                    licence=licence,
                    attribution=holders,
                    parts=tuple(hashlib.sha256(resources[name]).hexdigest() for name, _ in parts),
                    listing="" if chosen == "train" else "unseen",
                )
            )
            if whole and seconds >= settings.min_seconds and len(plain(text).split()) >= MIN_WORDS:
                whole_utterances.append(result[-1].id)
    spoken_words = {clip.id for clip in of_language(result)}
    result = [clip for clip in result if clip.split == "train" or clip.id in spoken_words]
    held_out = main_lists(clip for clip in result if clip.split == "train" and clip.id in spoken_words & {*whole_utterances})
    return [replace(clip, split=held_out[clip.id], listing="main") if clip.id in held_out else clip for clip in result]


def reader(archives: dict[str, Path], settings: Corpora, source: Source) -> Reader:
    """Decodes rows of the candidates table; CorpusError when the archive is missing or damaged."""
    archive = _archive(archives, source)
    resources = Resources(deb_members(archive, lambda name: name == DATA)[DATA], str(archive))

    def decode(row: Any) -> tuple[np.ndarray, int]:
        names = row.file.removeprefix(f"{DATA}:").split(JOINED)
        return np.concatenate([files.read(resources[name], name, expected_rate=RATE)[0] for name in names]), RATE

    return decode


def _archive(archives: dict[str, Path], source: Source) -> Path:
    name = source.archives[0]
    if name not in archives:
        raise CorpusError(f"corpus queen needs its archive: run agrepa fetch --archive {name} and pass the file")
    return archives[name]
