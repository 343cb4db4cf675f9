"""Which split a person's own recordings are in: what the CSV names stays, what is drawn is drawn whole and in its share."""

from __future__ import annotations

from collections import Counter

from agrepa.corpora.splits import Recording, assign, leaks
from agrepa.params.corpora import Source


def source(**keys: object) -> Source:
    return Source.model_validate({"kind": "folder", "csv": "mine.csv"} | keys)


def recordings(*rows: tuple[str, str, str], domain: str = "speech") -> list[Recording]:
    """Rows of (text, speaker, split), of which each is a recording of its own."""
    return [
        Recording(n, f"{n:03d}.wav", domain, text, speaker, split, f"content {n}", True)
        for n, (text, speaker, split) in enumerate(rows, 2)
    ]


def splits(found: list[Recording]) -> dict[str, int]:
    return dict(Counter(recording.split for recording in found))


def test_utterances_of_one_speaker_are_drawn_in_their_shares() -> None:
    found = recordings(*[(f"Prompt {n}", "unknown", "") for n in range(209)])
    assert assign(found, source(split_by="utterance")) == (set(), [])
    assert splits(found) == {"train": 167, "validation": 21, "test": 21}
    assert not leaks(found, source(split_by="utterance"))
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    again = recordings(*[(f"Prompt {n}", "unknown", "") for n in range(209)])
    assign(again, source(split_by="utterance", shares=shares))
    assert splits(again) == {"train": 105, "validation": 52, "test": 52}


def test_speakers_are_drawn_whole() -> None:
    speakers = [name for name, count in {"anna": 40, "ben": 30, "cleo": 5, "dora": 5, "emil": 20}.items() for _ in range(count)]
    found = recordings(*[(f"{name} {n}", name, "") for n, name in enumerate(speakers)])
    assign(found, source(split_by="speaker"))
    assert {r.speaker: r.split for r in found}.keys() == {"anna", "ben", "cleo", "dora", "emil"}
    assert not leaks(found, source(split_by="speaker"))
    # 10 utterances are the share of test, which cleo and dora fill; of the others emil is the smallest.
    assert splits(found) == {"test": 10, "validation": 20, "train": 70}


def test_what_is_named_stays_and_takes_its_speaker_along() -> None:
    found = recordings(("a", "anna", ""), ("b", "anna", "test"), ("c", "ben", ""), ("d", "cleo", "train"))
    assign(found, source(split_by="speaker"))
    assert [r.split for r in found] == ["test", "test", "validation", "train"]


def test_too_few_to_fill_the_splits_is_said() -> None:
    found = recordings(("a", "anna", ""), ("b", "ben", ""))
    assert assign(found, source(split_by="speaker"))[1] == [
        "2 of speech to be kept whole cannot fill 3 splits: add recordings of others"
    ]


def test_an_utterance_too_long_to_be_taken_has_no_part_in_the_shares() -> None:
    found = recordings(*[(f"Prompt {n}", "unknown", "") for n in range(30)])
    for recording in found[:20]:
        recording.usable = False
    assign(found, source(split_by="utterance"))
    assert splits([r for r in found if r.usable]) == {"train": 8, "validation": 1, "test": 1}


def test_sounds_with_a_name_in_common_and_the_same_audio_stay_together() -> None:
    found = recordings(*[("", f"session {n % 4}", "") for n in range(40)], domain="audio")
    assign(found, source(split_by="utterance"))
    assert all(len({r.split for r in found if r.speaker == f"session {n}"}) == 1 for n in range(4))
    twice = recordings(*[("", "", "") for _ in range(40)], domain="audio")
    for recording in twice:
        recording.content = f"content {recording.number // 2}"
    assign(twice, source(split_by="utterance"))
    assert all(len({r.split for r in twice if r.content == f"content {n}"}) == 1 for n in range(1, 21))


def test_utterances_of_one_transcript_are_drawn_together() -> None:
    found = recordings(*[(f"Prompt {n % 10}!", "unknown", "") for n in range(20)])
    notes = assign(found, source(split_by="utterance", shared_texts="move"))[1]
    assert notes == [
        "20 utterances share 10 transcripts, each of which stays in one split; 0 moved from the split that the CSV names"
    ]
    assert splits(found) == {"train": 16, "validation": 2, "test": 2}
    assert not leaks(found, source(split_by="utterance"))


def test_a_transcript_is_dropped_from_all_splits_but_the_first() -> None:
    rows = [("Hi", "anna", "train"), ("hi!", "ben", "validation"), ("Hi.", "cleo", "test"), ("Bye", "anna", "train")]
    found = recordings(*rows)
    assert assign(found, source(shared_texts="drop")) == ({2, 3}, ["2 utterances left out whose transcripts another split has"])
    assert [text for _, text in leaks(found, source())] == [
        "transcript 'hi' is in more than one split: 002.wav (train), 003.wav (validation): keep it in one, or set shared_texts: "
        "move or drop",
        "transcript 'hi' is in more than one split: 002.wav (train), 004.wav (test): keep it in one, or set shared_texts: move "
        "or drop",
    ]


def test_a_speaker_in_two_splits_is_a_leak_unless_the_split_is_by_utterance() -> None:
    found = recordings(("a", "anna", "train"), ("b", "anna", "test"))
    assert leaks(found, source()) == [
        (3, "003.wav: speaker 'anna' is in more than one split, first in train: keep it in one, or set split_by: utterance")
    ]
    assert not leaks(found, source(split_by="utterance"))
