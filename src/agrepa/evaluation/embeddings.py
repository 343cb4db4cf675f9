"""Embeddings of a row's audio, which FAD compares with those of real clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agrepa.artifacts import write_features
from agrepa.corpora import manifest as manifests
from agrepa.encoders.extract import encode_folder, load
from agrepa.errors import ArtifactError

if TYPE_CHECKING:
    from agrepa.params import Experiment

OUTPUT = "embedding"


def run(p: Experiment, embedding: str, manifest: Path, audio: Path, archives: list[Path], out: Path) -> None:
    """Embed every clip of an audio folder, in manifest order, as the encode stage does for the recordings.

    Raises ArtifactError when the folder is empty or holds a clip that is not in the manifest's evaluation split.
    """
    table = manifests.read(manifest)
    found = {file.stem for file in audio.glob("*.flac")}
    clips = table.id[(table.split == p.evaluation.split) & table.id.isin(found)].tolist()
    unknown = sorted(found.difference(clips))
    if unknown:
        raise ArtifactError(
            f"{audio / unknown[0]}.flac is no {p.evaluation.split} clip of {manifest}: delete the folder and run its stage again"
        )
    if not clips:
        raise ArtifactError(f"{audio} holds no audio: run the stage that writes it")
    seconds = getattr(p.encoders, embedding).batch_seconds
    write_features(out, encode_folder(load(embedding, archives), audio, clips, p.corpora.sample_rate, [OUTPUT], seconds))
