"""SIM-o: how alike the voice of synthesised speech is to that of the prompt's own recording, by the speaker vectors of WavLM
(Chen et al., 2022) fine-tuned for speaker verification, through transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import Wav2Vec2FeatureExtractor, WavLMForXVector

from agrepa.archives.weights import identity, pretrained, read_settings
from agrepa.artifacts.features import FeatureStore
from agrepa.artifacts.files import write_json, write_table
from agrepa.audio import files
from agrepa.corpora import manifest as manifests
from agrepa.errors import ArtifactError, ParamsError
from agrepa.evaluation import prompts
from agrepa.evaluation.spoken import speech_clips
from agrepa.evaluation.statistics import ratio
from agrepa.job import In, Out
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.stages import SimilaritySettings

SAMPLE_RATE = 16000


class Voices:
    """Speaker vectors of clips, each of a clip alone.

    Args:
        archive: ``config.json``, the weights and ``preprocessor_config.json``, as they are published.

    Raises ArtifactError when one is missing or is of another network, CorpusError when the archive is missing or damaged.
    """

    def __init__(self, archive: Path) -> None:
        self.front: Any = Wav2Vec2FeatureExtractor.from_dict(read_settings(archive, "preprocessor_config.json"))
        self.network = pretrained(WavLMForXVector, archive)

    @torch.inference_mode()
    def vector(self, wave: np.ndarray) -> Tensor:
        """The vector ``[D]`` of unit length of a clip ``[N]`` at 16 kHz."""
        found = self.front(wave, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        return functional.normalize(self.network(found).embeddings[0], dim=0)


def run(p: SimilaritySettings, *, manifest: In, mel: In, audio: In, archive: In, out: Out, utterances: Out) -> None:
    """``speech_sim_o``: the mean cosine of the speaker vectors of a row's speech and of the recording before it, as much of it as
    the model was shown, with the interval over speakers, and one row a clip. Clips without a prompt are left out.

    Args:
        mel: index of the spectrograms, by whose lengths prompts are chosen.

    Raises ArtifactError as ``speech_clips`` and ``Voices``, or when no clip has a prompt.
    """
    if p.prompt is None:
        raise ParamsError("evaluation.similarity needs a prompt: set evaluation.prompt, or similarity: null")
    rows, table = speech_clips(manifest, audio), manifests.read(manifest).set_index("id", drop=False)
    frames = FeatureStore([mel]).feature("mel", "mel").frames
    chosen = prompts.choose(table, frames, rows["clip"], round(p.prompt.seconds * p.sample_rate / p.hop))
    rows = rows[rows["clip"].isin(chosen)].reset_index(drop=True)
    if rows.empty:
        raise ArtifactError(f"{audio}: no clip in it has a prompt, to which its voice could be compared: set similarity: null")
    voices, originals, found = Voices(archive), dict[str, Tensor](), []
    recordings = {row.id: row for row in table[table.id.isin({prompt for prompt, _ in chosen.values()})].itertuples()}
    for clip in track(rows["clip"].tolist(), "similarity", unit="clip"):
        prompt, shown = chosen[clip]
        if prompt not in originals:
            original = manifests.wave(recordings[prompt], p.sample_rate)[: shown * p.hop]
            originals[prompt] = voices.vector(files.resample(original, p.sample_rate, SAMPLE_RATE))
        wave, rate = files.read(audio / f"{clip}.flac", expected_rate=p.sample_rate)
        found.append(float(voices.vector(files.resample(wave, rate, SAMPLE_RATE)) @ originals[prompt]))
    rows = rows.assign(prompt=[chosen[clip][0] for clip in rows["clip"]], similarity=found)
    about = identity(archive)
    entry = ratio(rows.similarity, [1.0] * len(rows), rows.family.tolist()).interval().entry()
    write_table(utterances, rows)
    write_json(out, {"speech_sim_o": entry | {"network": f"{about['package']} {about['version']}", "revision": about["files"]}})
