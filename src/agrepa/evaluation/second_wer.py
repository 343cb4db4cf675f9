"""A second judge of word errors: a recogniser by CTC, HuBERT (Hsu et al., 2021) fine-tuned on LibriSpeech, through transformers.

It has no decoder that could complete or invent a text: what it writes is the most probable character of each frame. Where it and
the first judge differ widely, the speech is hard and not the arm better.
"""

from __future__ import annotations

import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import HubertForCTC, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from agrepa.archives.containers import zip_member
from agrepa.archives.weights import identity, member, pretrained, read_settings
from agrepa.errors import AudioError
from agrepa.evaluation.transcriber import SAMPLE_RATE
from agrepa.evaluation.wer import measure, speech
from agrepa.job import In, Out

if TYPE_CHECKING:
    from agrepa.params.stages import SecondWerSettings

SUFFIX = "_ctc"  # of its metrics
SHORTEST = 400  # samples, of the first frame


class CtcTranscriber:
    """The judge: what it makes of a clip depends on the clip alone.

    Args:
        archive: ``config.json``, the weights, ``vocab.json`` and ``preprocessor_config.json``, as they are published.

    Raises ArtifactError when one is missing or is of another network, CorpusError when the archive is missing or damaged.
    """

    def __init__(self, archive: Path) -> None:
        self.about = identity(archive)
        self.front: Any = Wav2Vec2FeatureExtractor.from_dict(read_settings(archive, "preprocessor_config.json"))
        with tempfile.TemporaryDirectory() as folder:
            vocabulary = Path(folder) / "vocab.json"
            vocabulary.write_bytes(zip_member(archive, member(archive, "vocab.json")))
            self.tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary))
        self.network = pretrained(HubertForCTC, archive)

    @torch.inference_mode()
    def transcribe(self, wave: np.ndarray, clip: str) -> str:
        """The words in ``wave [N]`` at 16 kHz; AudioError when it is shorter than a frame."""
        if len(wave) < SHORTEST:
            raise AudioError(f"{clip} has {len(wave)} samples and the judge needs {SHORTEST}: drop it")
        found = self.front(wave, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        return str(self.tokenizer.decode(self.network(found).logits[0].argmax(-1))).strip()

    def identity(self) -> dict[str, Any]:
        """Who judged, for the record."""
        return {
            "judge": f"{self.about['package']} {self.about['version']}, CTC, no language model",
            "revision": self.about["files"],
            "library": f"transformers {metadata.version('transformers')}",
            "normaliser": "that of the first judge",
        }


def run(p: SecondWerSettings, *, manifest: In, audio: In, archive: In, out: Out, utterances: Out) -> None:
    """Word and character error rates of a row's speech by the second judge, in percent: ``speech_wer_ctc`` and
    ``speech_cer_ctc``, and those of the unseen speakers with ``_unseen`` behind.

    Raises as ``wer.speech`` and ``CtcTranscriber``.
    """
    measure(CtcTranscriber(archive), speech(manifest, audio, p.split), audio, p.sample_rate, out, utterances, SUFFIX)
