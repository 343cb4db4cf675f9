"""Word error rate: counting by hand and by jiwer, what the judge makes of named clips, and which clips it is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jiwer
import numpy as np
import pandas as pd
import pytest
from made_results import settings

from agrepa.archives.containers import deb_members
from agrepa.artifacts.files import read_json, read_table, write_table
from agrepa.audio import files
from agrepa.corpora import queen
from agrepa.corpora.manifest import COLUMNS
from agrepa.corpora.queen_resources import Resources
from agrepa.errors import AgrepaError, ArtifactError, CorpusError
from agrepa.evaluation.statistics import ratio
from agrepa.evaluation.transcriber import SAMPLE_RATE, Transcriber
from agrepa.evaluation.wer import Errors, count_errors, listed_speech, normalise, run
from agrepa.params import Experiment

SECRETARY = ("28009AJ2.SB", "I was going to give it to the secretary...")
EMOTIONS = ("600029P2.SB", "You're obviously in touch with your animal emotions.")


@pytest.fixture(scope="module")
def recording(archive: Callable[[str], Path]) -> Callable[[str], np.ndarray]:
    """``recording(name)``: a clip of the game at the judge's rate."""
    resources = Resources(deb_members(archive("queen"), lambda name: name == queen.DATA)[queen.DATA], "queen")
    return lambda name: files.resample(files.read(resources[name], name)[0], queen.RATE, SAMPLE_RATE)


@pytest.fixture(scope="module")
def judge(archive: Callable[[str], Path], demo: Experiment) -> Transcriber:
    return Transcriber(archive("whisper_tiny_en"), demo.evaluation.judge, seed=0, threads=1)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "word_errors", "words"),
    [
        ("You couldn't pilot your way out of a paper bag.", "you could not pilot your way out of a paper bag", 0, 11),
        ("Well... I gotta go.", "well, i got to go!", 0, 5),
        ("I was going to give it to the secretary...", "I was going to give it to the secretary.", 0, 9),
        ("Mr. Smith has twenty dollars", "mister smith has $20", 0, 4),
        ("Heavens no! There are tigers.", "heavens no there tigers", 1, 5),
        ("Look, just answer the riddle.", "look just on the circle riddle", 2, 5),
        ("Hold it right there!", "", 4, 4),
        ("no", "yes yes yes yes", 4, 1),
    ],
)
def test_counts_by_hand(reference: str, hypothesis: str, word_errors: int, words: int) -> None:
    errors = count_errors(reference, hypothesis)
    assert (errors.word_errors, errors.words) == (word_errors, words)


def test_counts_add_up_to_the_rates_of_jiwer() -> None:
    pairs = [("the cat sat on the mat", "a cat sat mat"), ("let me have another try", "let me have another tree and more")]
    counted = [count_errors(*pair) for pair in pairs]
    said, heard = ([normalise(text) for text in side] for side in zip(*pairs, strict=True))
    assert sum(e.word_errors for e in counted) / sum(e.words for e in counted) == pytest.approx(jiwer.wer(said, heard))
    assert sum(e.char_errors for e in counted) / sum(e.chars for e in counted) == pytest.approx(jiwer.cer(said, heard))


def test_characters_are_counted_after_normalisation_with_spaces() -> None:
    assert count_errors("So, my!", "so me") == Errors(word_errors=1, words=2, char_errors=1, chars=5)


def test_a_text_that_ends_in_dots_gains_no_word() -> None:
    assert normalise("to the secretary...") == "to the secretary"
    assert normalise("It costs $5.50, 50% off...") == "it costs $5.50 50% off"
    assert normalise("Um...") == normalise("(sigh)") == normalise("...") == ""
    with pytest.raises(ValueError, match="no words"):
        count_errors("Um...", "um")


@pytest.mark.parametrize(("clip", "text"), [SECRETARY, EMOTIONS])
def test_the_judge_understands_named_clips(recording: Callable, judge: Transcriber, clip: str, text: str) -> None:
    assert count_errors(text, judge.transcribe(recording(clip), clip)).word_errors == 0


def test_the_judge_reads_nothing_into_silence(judge: Transcriber) -> None:
    assert judge.transcribe(np.zeros(2 * SAMPLE_RATE, np.float32), "silence") == ""


def test_the_text_is_no_longer_than_speech_can_be(recording: Callable, archive: Callable, demo: Experiment) -> None:
    slow = demo.evaluation.judge.model_copy(update={"max_tokens_per_second": 1.0})
    # 2.3 s allow three tokens.
    heard = Transcriber(archive("whisper_tiny_en"), slow, 0, 1).transcribe(recording(SECRETARY[0]), "clip")
    assert heard == "I was going"


def test_what_is_sampled_depends_on_clip_and_seed_alone(recording: Callable, archive: Callable, demo: Experiment) -> None:
    """At temperature 1 every decoding is drawn; CTranslate2 by itself would go on with one generator from clip to clip."""
    hot = demo.evaluation.judge.model_copy(update={"temperatures": [1.0], "log_probability": -100.0})
    waves = {name: recording(name) for name in ("0800B3P5.SB", SECRETARY[0])}
    one, two = (Transcriber(archive("whisper_tiny_en"), hot, seed, 1) for seed in (0, 1))
    first = [one.transcribe(waves["0800B3P5.SB"], name) for name in "ab"]
    one.transcribe(waves[SECRETARY[0]], "another")
    assert [one.transcribe(waves["0800B3P5.SB"], name) for name in "ba"] == first[::-1]
    assert len(set(first)) > 1
    assert [two.transcribe(waves["0800B3P5.SB"], name) for name in "ab"] != first


def test_refuses_another_wheel(archive: Callable[[str], Path], demo: Experiment) -> None:
    with pytest.raises(AgrepaError, match="is it the pinned archive"):
        Transcriber(archive("yamnet"), demo.evaluation.judge, 0, 1)


def manifest(path: Path, texts: dict[str, str]) -> pd.DataFrame:
    """Clips of the main list, but that ``queen_z`` is an unseen one, and a sound."""
    shared = {"corpus": "queen", "domain": "speech", "split": "test", "speaker": "sec", "family": "sec"}
    rows = [
        shared | {"id": clip, "text": text, "listing": "unseen" if clip == "queen_z" else "main"} for clip, text in texts.items()
    ]
    rows.append({"id": "sonic_pi_bell", "corpus": "sonic_pi", "domain": "audio", "split": "test", "text": "", "family": "bell"})
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS)).fillna("")
    write_table(path, table)
    return table


def test_a_row_is_scored_clip_by_clip(tmp_path: Path, recording: Callable, archive: Callable, demo: Experiment) -> None:
    texts = {"queen_z": EMOTIONS[1] + " Indeed.", "queen_1": EMOTIONS[1], "queen_2": SECRETARY[1].replace("secretary", "king")}
    manifest(tmp_path / "manifest.parquet", texts | {"queen_3": "not synthesised"})
    for clip, (name, _) in zip(texts, (EMOTIONS, EMOTIONS, SECRETARY), strict=True):
        files.write_flac(tmp_path / "audio" / f"{clip}.flac", recording(name), demo.corpora.sample_rate)
    files.write_flac(tmp_path / "audio" / "sonic_pi_bell.flac", np.ones(900, np.float32) * 0.1, demo.corpora.sample_rate)
    out, utterances = tmp_path / "wer.json", tmp_path / "wer.parquet"
    run(
        settings(demo, "wer"),
        manifest=tmp_path / "manifest.parquet",
        audio=tmp_path / "audio",
        archive=archive("whisper_tiny_en"),
        out=out,
        utterances=utterances,
    )
    scores, table = read_json(out), read_table(utterances)
    assert list(table["clip"]) == ["queen_1", "queen_2", "queen_z"], "the main list first"
    assert list(table.listing) == ["main", "main", "unseen"]
    assert list(table.word_errors) == [0, 1, 1]
    assert list(table.words) == [9, 9, 10]
    assert table.reference[1] == "I was going to give it to the king..."
    assert table.hypothesis[1] == "I was going to give it to the secretary."
    wer = scores["speech_wer"]
    assert (wer["value"], wer["n"], wer["unit"]) == (pytest.approx(100 / 18), 2, "clip")
    expected = ratio([0, 1], [9, 9], ["sec", "sec"]).scaled(100).interval(positive=True)
    assert (wer["low"], wer["high"]) == pytest.approx((expected.low, expected.high))
    assert wer["revision"].startswith("1a5afae0")
    main = table[:2]
    assert scores["speech_cer"]["value"] == pytest.approx(100 * main.char_errors.sum() / main.chars.sum())
    assert scores["speech_wer_utterance"]["value"] == pytest.approx(100 * (0 / 9 + 1 / 9) / 2)
    unseen = scores["speech_wer_unseen"]
    assert (unseen["value"], unseen["n"], unseen["low"]) == (10, 1, None)
    assert sorted(scores) == ["speech_cer", "speech_cer_unseen", "speech_wer", "speech_wer_unseen", "speech_wer_utterance"]


def test_a_hole_in_the_evaluation_list_is_an_error(tmp_path: Path) -> None:
    table = manifest(tmp_path / "manifest.parquet", {"queen_1": "a", "queen_2": "b", "queen_3": "c"})
    for clip in ("queen_1", "queen_3"):
        (tmp_path / f"{clip}.flac").touch()
    with pytest.raises(ArtifactError, match=r"queen_2\.flac is on the evaluation list and missing"):
        listed_speech(table, "test", tmp_path)
    (tmp_path / "queen_2.flac").touch()
    assert listed_speech(table, "test", tmp_path) == ["queen_1", "queen_2", "queen_3"]
    table = manifest(tmp_path / "manifest.parquet", {"queen_z": "z", "queen_1": "a", "queen_2": "b", "queen_3": "c"})
    (tmp_path / "queen_z.flac").touch()
    assert listed_speech(table, "test", tmp_path) == ["queen_1", "queen_2", "queen_3", "queen_z"]
    (tmp_path / "queen_9.flac").touch()
    with pytest.raises(ArtifactError, match=r"queen_9\.flac is not in the manifest"):
        listed_speech(table, "test", tmp_path)


def test_no_speech_of_the_main_list_is_an_error(tmp_path: Path) -> None:
    table = manifest(tmp_path / "manifest.parquet", {"queen_1": "a", "queen_z": "z"})
    for clip in ("sonic_pi_bell", "queen_z"):
        (tmp_path / f"{clip}.flac").touch()
    with pytest.raises(ArtifactError, match="holds no speech clip of the main list"):
        listed_speech(table, "test", tmp_path)


def test_a_text_without_words_is_an_error_of_the_corpus(tmp_path: Path, demo: Experiment) -> None:
    manifest(tmp_path / "manifest.parquet", {"queen_1": "Um..."})
    (tmp_path / "queen_1.flac").touch()
    with pytest.raises(CorpusError, match=r"queen_1 says 'Um\.\.\.', which has no word to count: drop the clip"):
        run(
            settings(demo, "wer"),
            manifest=tmp_path / "manifest.parquet",
            audio=tmp_path,
            archive=tmp_path / "none.whl",
            out=tmp_path / "o.json",
            utterances=tmp_path / "o.parquet",
        )
