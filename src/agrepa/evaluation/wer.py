"""Word and character error rate of a row's speech."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import jiwer
import numpy as np
import pandas as pd
from whisper_normalizer.english import EnglishTextNormalizer

from agrepa.artifacts.files import write_json, write_table
from agrepa.audio import files
from agrepa.corpora import manifest as manifests
from agrepa.errors import ArtifactError, CorpusError
from agrepa.evaluation.statistics import ratio
from agrepa.evaluation.transcriber import SAMPLE_RATE, Transcriber
from agrepa.job import In, Out
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.stages import WerSettings

_normaliser = EnglishTextNormalizer()


def normalise(text: str) -> str:
    """Whisper's English normaliser, which can leave a lone "." where a text ends in "..."; that is no word and goes too."""
    return " ".join(word for word in _normaliser(text).split() if any(map(str.isalnum, word)))


@dataclass(frozen=True)
class Errors:
    """Substitutions, deletions and insertions, and the length of the reference, in words and in characters."""

    word_errors: int
    words: int
    char_errors: int
    chars: int


def count_errors(reference: str, hypothesis: str) -> Errors:
    """Count on normalised texts; ValueError when nothing is left of the reference."""
    reference, hypothesis = normalise(reference), normalise(hypothesis)
    if not reference:
        raise ValueError("the reference has no words")
    words, chars = jiwer.process_words(reference, hypothesis), jiwer.process_characters(reference, hypothesis)
    return Errors(
        words.substitutions + words.deletions + words.insertions,
        words.substitutions + words.deletions + words.hits,
        chars.substitutions + chars.deletions + chars.insertions,
        chars.substitutions + chars.deletions + chars.hits,
    )


def listed_speech(table: pd.DataFrame, split: str, audio: Path) -> list[str]:
    """The speech clips in a row's audio folder, which are the first ones of both evaluation lists, the main one first.

    Raises ArtifactError when the folder holds an unknown clip, no speech of the main list, or lacks a clip between those that
    it holds.
    """
    found = {file.stem for file in audio.glob("*.flac")}
    unknown = sorted(found - set(table.id))
    if unknown:
        raise ArtifactError(f"{audio / unknown[0]}.flac is not in the manifest: delete the folder and run its stage again")
    speech = found & set(table.id[table.domain == "speech"])
    unseen = speech & set(table.id[table.listing == manifests.UNSEEN])
    if speech == unseen:
        raise ArtifactError(f"{audio} holds no speech clip of the main list: run the stage that writes it")
    counts = ((manifests.MAIN, len(speech - unseen)), (manifests.UNSEEN, len(unseen)))
    listed = [clip for name, n in counts for clip in manifests.evaluation_list(table, split, "speech", n, name)]
    missing = [clip for clip in listed if clip not in speech]
    if missing:
        raise ArtifactError(f"{audio / missing[0]}.flac is on the evaluation list and missing: run the stage that writes it")
    return listed


class Judge(Protocol):
    """What turns speech into words."""

    def transcribe(self, wave: np.ndarray, clip: str) -> str:
        """The words in ``wave [N]`` at 16 kHz."""
        ...

    def identity(self) -> dict[str, Any]:
        """Who judged, for the record."""
        ...


def speech(manifest: Path, audio: Path, split: str) -> pd.DataFrame:
    """The manifest's rows of a row's speech, by clip, the main list first.

    Raises CorpusError when the normaliser leaves nothing of a clip's text, ArtifactError as ``listed_speech``.
    """
    table = manifests.read(manifest)
    clips = table.set_index("id").loc[listed_speech(table, split, audio)]
    for clip, text in clips.text.items():
        if not normalise(text):
            raise CorpusError(f"{manifest}: {clip} says {text!r}, which has no word to count: drop the clip in its corpus")
    return clips


def measure(
    judge: Judge, clips: pd.DataFrame, audio: Path, sample_rate: int, out: Path, utterances: Path, suffix: str = ""
) -> None:
    """Write the error rates of ``clips`` (see ``speech``) by a judge; its metrics are ``speech_wer<suffix>`` and so on."""
    rows = []
    for clip in track(list(clips.itertuples()), "wer", unit="clip"):
        wave, rate = files.read(audio / f"{clip.Index}.flac", expected_rate=sample_rate)
        hypothesis = judge.transcribe(files.resample(wave, rate, SAMPLE_RATE), clip.Index)
        errors = count_errors(clip.text, hypothesis)
        rows.append(
            (clip.Index, clip.family, "speech", clip.listing, clip.speaker, clip.text, hypothesis, *vars(errors).values())
        )
    columns = ["clip", "family", "domain", "listing", "speaker", "reference", "hypothesis", *Errors.__dataclass_fields__]
    scores = pd.DataFrame(rows, columns=columns)
    identity, result = judge.identity(), {}
    for listing, part in scores.groupby("listing"):
        ones, families = [1.0] * len(part), part.family.tolist()
        for name, found in {
            f"speech_wer{suffix}": ratio(part.word_errors, part.words, families),
            f"speech_cer{suffix}": ratio(part.char_errors, part.chars, families),
            f"speech_wer{suffix}_utterance": ratio(part.word_errors / part.words, ones, families),
        }.items():
            if (listing, suffix) == (manifests.MAIN, "") or not name.endswith("_utterance"):
                entry = found.scaled(100).interval(positive=True).entry()
                result[name if listing == manifests.MAIN else f"{name}_{listing}"] = entry | identity
    write_table(utterances, scores)
    write_json(out, result)


def run(p: WerSettings, *, manifest: In, audio: In, archive: In, out: Out, utterances: Out) -> None:
    """Word and character error rates of a row's speech, in percent, with one line an utterance.

    ``speech_wer`` and ``speech_cer`` are of the corpus; ``speech_wer_utterance`` is the mean over utterances, to which a long one
    counts no more than a short one. Those of the unseen speakers end in ``_unseen``.

    Args:
        archive: the judge's download.

    Raises CorpusError when the normaliser leaves nothing of a clip's text, ArtifactError as ``listed_speech``.
    """
    clips = speech(manifest, audio, p.split)
    judge = Transcriber(archive, p.judge, p.seed, int(os.environ.get("OMP_NUM_THREADS", "1")))
    measure(judge, clips, audio, p.sample_rate, out, utterances)
