"""What is in two splits leaves one of them, and the order in which clips are taken."""

from __future__ import annotations

from collections import Counter

from agrepa.corpora import ordering
from agrepa.corpora.clip import Clip, plain, slug


def fake(identity: str, split: str, text: str = "", part: str = "", domain: str = "audio", seconds: float = 2.0) -> Clip:
    family = identity.rstrip("0123456789")
    return Clip(
        identity,
        "x",
        domain,
        split,
        "f",
        0.0,
        seconds,
        text,
        "",
        "",
        family,
        "",
        "",
        (part or identity,),
    )


def test_what_is_in_two_splits_leaves_train_first() -> None:
    clips = [
        fake("a1", "train", "Good morning!"),
        fake("a2", "train", "It's all right."),
        fake("b1", "validation", "good MORNING"),
        fake("b2", "validation", "Its... all right"),
        fake("c1", "test", "Good morning."),
        fake("d1", "train", part="same"),
        fake("d2", "train", part="same"),
        fake("e1", "validation", part="same"),
        fake("f1", "train", part="twice"),
        fake("f2", "train", part="twice"),
    ]
    assert [c.id for c in ordering.without_leaks(clips)] == ["b2", "c1", "e1", "f1"]


def test_order_is_seeded_even_over_families_and_stable() -> None:
    clips = [fake(f"{name}{i}", "test") for name, count in (("a", 6), ("b", 3), ("c", 1)) for i in range(count)]
    first = [c.id for c in ordering.ordered(clips, 0)]
    assert Counter(name[0] for name in first[:3]) == Counter("abc")
    assert Counter(name[0] for name in first[3:7]) == Counter("aabb")
    assert first == [c.id for c in ordering.ordered(clips[::-1], 0)]
    assert first != [c.id for c in ordering.ordered(clips, 1)]
    train = [fake(f"a{i}", "train") for i in range(30)]
    order = [c.id for c in ordering.ordered(train, 0)]
    assert [i for i in order if i != "a7"] == [c.id for c in ordering.ordered([c for c in train if c.id != "a7"], 0)]
    speech = [fake("a1", "test", "x", domain="speech", seconds=0.5), fake("a2", "test", "y", domain="speech")]
    assert [c.id for c in ordering.ordered(speech, 0)] == ["a2", "a1"]


def test_plain_text_and_slugs() -> None:
    assert plain("  It’s  the  CAFÉ — again!") == plain("its the cafe again") == "its the cafe again"
    assert plain("...") == ""
    assert slug("Music Loops", "Xylo-1") == "music_loops_xylo_1"
