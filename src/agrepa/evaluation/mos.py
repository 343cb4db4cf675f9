"""Predicted opinion scores of speech: Distill-MOS (Stahl and Gamper, "Distillation and Pruning for Scalable Self-Supervised
Representation-Based Speech Quality Assessment", 2025). They stand beside the paper's listeners, not in their place.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from distillmos import ConvTransformerSQAModel

from agrepa.archives.checkpoints import read_checkpoint
from agrepa.artifacts.files import write_json, write_table
from agrepa.audio import files
from agrepa.evaluation.spoken import speech_clips
from agrepa.evaluation.statistics import ratio
from agrepa.job import In, Out
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.stages import MosSettings

CHECKPOINT = ("distillmos/weights/distill_mos_v7.pt", "b18b3ac60227267cfb91e5d00ce22cc7b73716fd92f269484da1446e27031a40")
SAMPLE_RATE = 16000


def load(archive: Path) -> ConvTransformerSQAModel:
    """The predictor: ``[1, N]`` at 16 kHz, any N -> ``[1, 1]`` in 1..5. The level of the audio does not matter.

    Raises ArtifactError or CorpusError when the archive is missing or is not the pinned one.
    """
    model = ConvTransformerSQAModel(load_weights=False)
    model.load_state_dict(read_checkpoint(archive, *CHECKPOINT)["model"])
    return model.eval().requires_grad_(False)


def run(p: MosSettings, *, manifest: In, audio: In, archive: In, out: Out, utterances: Out) -> None:
    """Predicted MOS of a row's speech: ``speech_mos_distill`` with the interval over speakers, and one row a clip.

    Raises ArtifactError as ``speech_clips`` and ``load``, AudioError when a clip cannot be read.
    """
    rows, model, scores = speech_clips(manifest, audio), load(archive), []
    for clip in track(rows["clip"].tolist(), "mos", unit="clip"):
        wave, rate = files.read(audio / f"{clip}.flac", expected_rate=p.sample_rate)
        samples = torch.from_numpy(files.resample(wave, rate, SAMPLE_RATE))
        with torch.inference_mode():
            scores.append(model(samples[None]).item())
    rows["mos"] = scores
    interval = ratio(rows.mos, [1.0] * len(rows), rows.family.tolist()).interval(positive=True)
    write_table(utterances, rows)
    write_json(out, {"speech_mos_distill": interval.entry()})
