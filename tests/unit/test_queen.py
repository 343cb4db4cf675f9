"""The speech of Flight of the Amazon Queen against what is known of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agrepa.archives.containers import deb_members
from agrepa.audio import files
from agrepa.corpora import ordering, queen, queen_resources
from agrepa.corpora.clip import Clip, plain
from agrepa.errors import CorpusError
from agrepa.params import Experiment


@pytest.fixture(scope="session")
def game(archive: Callable[[str], Path]) -> queen_resources.Resources:
    return queen_resources.Resources(deb_members(archive("queen"), lambda name: name == queen.DATA)[queen.DATA], "queen")


@pytest.fixture(scope="session")
def utterances(game: queen_resources.Resources) -> list[queen.Utterance]:
    return queen.utterances(game)


@pytest.fixture(scope="session")
def seconds(game: queen_resources.Resources, utterances: list[queen.Utterance]) -> dict[str, float]:
    return {u.stem: sum(len(files.read(game[name])[0]) / queen.RATE for name, _ in u.segments) for u in utterances}


def test_queen_has_the_known_number_of_utterances_and_minutes(
    utterances: list[queen.Utterance], seconds: dict[str, float]
) -> None:
    assert len(utterances) == 4191
    usual = [s for s in seconds.values() if 2 <= s <= 20]
    assert len(usual) == 3030
    assert sum(usual) / 60 == pytest.approx(242, abs=0.5)
    assert sum(len(u.segments) for u in utterances) == 6587


@pytest.mark.parametrize(
    ("clip", "speaker", "frames", "text"),
    [
        ("020001P2.SB", "AND", 38592, "You couldn't pilot your way out of a paper bag."),
        ("28009AJ2.SB", "JOE", 25344, "I was going to give it to the secretary..."),
        ("600029P2.SB", "WITCH", 58752, "You're obviously in touch with your animal emotions."),
        ("C100A093.SB", "IAN", 42624, "we can both bask in glory when we return with the Skull."),
    ],
)
def test_queen_golden_clips(
    clip: str,
    speaker: str,
    frames: int,
    text: str,
    game: queen_resources.Resources,
    utterances: list[queen.Utterance],
) -> None:
    found = {name: (u.speaker, said) for u in utterances for name, said in u.segments}
    assert found[clip] == (speaker, text)
    wave, rate = files.read(game[clip])
    assert (rate, len(wave)) == (queen.RATE, frames)
    assert 0.01 < np.sqrt(np.mean(wave**2)) < 0.3


def test_queen_stage_directions_are_no_text(utterances: list[queen.Utterance]) -> None:
    text = {u.stem: u.text for u in utterances}
    assert text["100001P"] == "What are you doing in my kitchen?"  # *XY00(128,112)*FL…
    assert text["660006P"] == "Why thank you ma'am."  # <gulp> …
    assert not any("*" in line or "<" in line for line in text.values())
    assert queen_resources.segments("*XY00(128,112)*FLIt's you.*00Out!*05") == ["", "", "It's you.", "Out!", ""]


def test_main_lists_hold_few_clips_of_each_speaker_and_never_change_for_others() -> None:
    def clip(speaker: str, number: int) -> Clip:
        word = f"{speaker}_{number:03d}"
        return Clip(word, "x", "speech", "train", "f", 0.0, 2.0, word, speaker, "", speaker, "", "", (word,))

    clips = [clip(speaker, i) for speaker, count in (("joe", 100), ("ann", 10), ("bob", 3)) for i in range(count)]
    found = queen.main_lists(clips)
    counts = Counter((name[:3], split) for name, split in found.items())
    assert counts == {("joe", "test"): 8, ("joe", "validation"): 4, ("ann", "test"): 2, ("ann", "validation"): 1}
    assert found.items() >= queen.main_lists([c for c in clips if c.speaker == "ann"][::-1]).items()


def test_what_no_other_character_says_is_no_language() -> None:
    said = {
        "a": ("joe", "Open the door!"),
        "b": ("ape", "Unga unga, the chunga!"),
        "c": ("ann", "The door... open it."),
        "d": ("ape", "Ugh."),
    }
    clips = [
        Clip(name, "x", "speech", "train", "f", 0.0, 2.0, text, speaker, "", speaker, "", "", (name,))
        for name, (speaker, text) in said.items()
    ]
    assert [clip.id for clip in queen.of_language(clips)] == ["a", "c"]


@pytest.fixture(scope="session")
def found(archive: Callable[[str], Path], demo: Experiment) -> list[Clip]:
    return queen.clips({"queen": archive("queen")}, demo.corpora, demo.corpora.sources["queen"])


def test_main_lists_are_whole_utterances_of_training_speakers_that_training_does_not_hear(found: list[Clip]) -> None:
    trained = Counter(clip.speaker for clip in found if clip.split == "train")
    known = {"test": (136, 31), "validation": (60, 26)}  # clips, speakers
    for split, most, one_of in queen.BY_UTTERANCE:
        main = [clip for clip in found if (clip.split, clip.listing) == (split, "main")]
        counts = Counter(clip.speaker for clip in main)
        assert (len(main), len(counts), max(counts.values())) == (*known[split], most)
        assert all(one_of * count <= trained[speaker] + 12 for speaker, count in counts.items())
        assert all(len(plain(clip.text).split()) >= queen.MIN_WORDS and "+" not in clip.id for clip in main)
    kept = ordering.without_leaks(found)
    said = {clip.id: plain(clip.text) for clip in kept}
    for split in ("test", "validation"):
        held_out = [clip for clip in kept if clip.split == split]
        assert not {said[clip.id] for clip in held_out} & {said[clip.id] for clip in kept if clip.split == "train"}
        assert {clip.speaker for clip in held_out if clip.listing == "main"} <= trained.keys()
        unseen = {clip.speaker for clip in held_out if clip.listing == "unseen"}
        assert unseen == {f"queen_{name.lower()}" for name, where in queen.HELD_OUT.items() if where == split}
        assert not unseen & trained.keys()
    recordings = {split: {part for c in kept if c.split == split for part in c.parts} for split in ordering.PRIORITY}
    assert not any(recordings[one] & recordings[two] for one, two in itertools.combinations(recordings, 2))


def test_queen_puts_each_speaker_in_one_split(utterances: list[queen.Utterance]) -> None:
    splits: dict[str, set[str]] = {}
    for utterance in utterances:
        if (chosen := queen.split(utterance)) is not None:
            splits.setdefault(utterance.speaker, set()).add(chosen)
    assert all(len(found) == 1 for found in splits.values())
    assert {name for name, found in splits.items() if found == {"test"}} == {"JIM", "ORACLE", "LARIS"}
    assert {name for name, found in splits.items() if found == {"validation"}} == {"BUD", "NAOMI"}
    by_stem = {u.stem: u for u in utterances}
    assert by_stem["C13A_02"].speaker == "JIM"  # the cut scene calls him Jimmy
    assert by_stem["C63B_02"].speaker == "ORACLE"  # … the guardian
    assert queen.split(by_stem["25SSSSJ"]) is None  # Joe greets Jim
    assert queen.split(by_stem["28009AJ"]) == "train"  # Joe talks to Klunk
    assert queen.split(by_stem["BLUEP01"]) is None  # nobody on the screen says it


def test_queen_cuts_long_utterances_between_segments() -> None:
    line = queen.Utterance("s", "JIM", "", (("1", "one"), ("2", "two"), ("3", "three"), ("4", "four")))
    cut = queen.pieces(line, [2.0, 2.5, 1.0, 9.0], 5.0)
    assert [([name for name, _ in parts], total) for parts, total in cut] == [(["1", "2"], 4.5), (["3"], 1.0), (["4"], 9.0)]
    assert len(queen.pieces(line, [1.0] * 4, 5.0)) == 1


def test_queen_needs_its_archive_and_a_bandwidth_that_it_has(demo: Experiment) -> None:
    source = demo.corpora.sources["queen"]
    with pytest.raises(CorpusError, match=r"run agrepa fetch --archive queen"):
        queen.clips({}, demo.corpora, source)
    with pytest.raises(
        CorpusError, match=r"recorded at 11025 Hz .* bandwidth_hz 8000.*lower corpora.bandwidth_hz to 5512 or less"
    ):
        queen.clips({"queen": Path("x")}, demo.corpora.model_copy(update={"bandwidth_hz": 8000.0}), source)


@pytest.mark.parametrize("cut", [10, 2000])
def test_a_cut_off_game_file_is_named(cut: int, game: queen_resources.Resources) -> None:
    with pytest.raises(CorpusError, match=r"archive.deb: .*queen.1c"):
        queen_resources.Resources(game._data[:cut], "archive.deb")
    with pytest.raises(CorpusError, match=r"no resource 'NO.SB'"):
        game["NO.SB"]
