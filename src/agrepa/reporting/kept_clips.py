"""Reads the clips kept for listening: what they are, their mel spectrograms, and where the audio lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from agrepa.errors import ArtifactError
from agrepa.reporting.collected import read_csv

CLIP_COLUMNS = ["clip", "domain", "family", "text", "label", "seconds"]


@dataclass(frozen=True)
class Clip:
    """One clip and, by row, its spectrogram ``[T, bands]`` (uint8, 0 = quietest) and its audio file where there is one."""

    name: str
    domain: str
    words: str
    seconds: float
    mels: dict[str, np.ndarray]
    audio: dict[str, Path]


def read_clips(folder: Path) -> list[Clip]:
    """The clips in the folder, in the order of its ``clips.csv``, speech before audio.

    Raises ArtifactError when clips.csv or mels.safetensors is missing or damaged, or a clip has no spectrogram.
    """
    table = read_csv(folder / "clips.csv", CLIP_COLUMNS, ["seconds"])
    path = folder / "mels.safetensors"
    if not path.exists():
        raise ArtifactError(f"{path} is missing: run the stage listening")
    try:
        mels = load_file(path)
    except Exception as error:  # safetensors raises its own type, which differs between versions
        raise ArtifactError(f"{path} is not a readable safetensors file ({error}): run the stage listening again") from None
    clips = []
    for line in table.sort_values("domain", ascending=False, kind="stable").itertuples():
        mine = {key.split("/")[0]: mel for key, mel in sorted(mels.items()) if key.split("/")[1] == line.clip}
        if not mine:
            raise ArtifactError(f"{path} has no spectrogram of {line.clip}, which clips.csv lists: run the stage listening again")
        audio = {row: folder / "audio" / row / f"{line.clip}.flac" for row in mine}
        words = line.text or line.label or line.family
        there = {row: file for row, file in audio.items() if file.exists()}
        clips.append(Clip(line.clip, line.domain, words, line.seconds, mine, there))
    return clips
