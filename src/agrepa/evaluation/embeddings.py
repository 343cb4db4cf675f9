"""Embeddings of a row's audio, which FAD compares with those of real clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agrepa.artifacts.features import write_shard
from agrepa.corpora import manifest as manifests
from agrepa.encoders import extract
from agrepa.errors import ArtifactError
from agrepa.job import In, Ins, Out, Wildcard

if TYPE_CHECKING:
    from agrepa.params.stages import EmbedSettings

OUTPUT = "embedding"
"""The output of an encoder that FAD is taken over."""


def run(p: EmbedSettings, *, embedding: Wildcard, manifest: In, audio: In, archives: Ins, out: Out) -> None:
    """FAD embeddings of a row's audio, in manifest order, as the encode stage makes them of the recordings.

    Raises ArtifactError when the folder is empty or holds a clip that is not in the manifest's evaluation split.
    """
    table = manifests.read(manifest)
    found = {file.stem for file in audio.glob("*.flac")}
    clips = table.id[(table.split == p.split) & table.id.isin(found)].tolist()
    unknown = sorted(found.difference(clips))
    if unknown:
        raise ArtifactError(
            f"{audio / unknown[0]}.flac is no {p.split} clip of {manifest}: delete the folder and run its stage again"
        )
    if not clips:
        raise ArtifactError(f"{audio} holds no audio: run the stage that writes it")
    network = extract.load(p.encoder, archives)
    embedded = extract.encode_folder(network, audio, clips, p.sample_rate, [OUTPUT], p.encoder)
    write_shard(out, embedding, embedded)
