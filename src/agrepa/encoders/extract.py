"""The encode stage: what a frozen network says about the clips of a shard; also used on generated audio."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from agrepa.artifacts import write_features
from agrepa.audio import files
from agrepa.corpora import manifest as manifests
from agrepa.encoders.protocol import Encoder
from agrepa.errors import ArtifactError, AudioError, ParamsError
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params import Experiment


def load(name: str, archives: list[Path]) -> Encoder:
    """The encoder of module ``agrepa.encoders.<name>``; ``archives`` are its downloads in the order of its ARCHIVES.

    Raises ParamsError when there is no such encoder, ArtifactError or CorpusError when an archive is not the pinned one.
    """
    place = f"agrepa.encoders.{name}"
    module = importlib.import_module(place) if importlib.util.find_spec(place) else None
    if module is None or not hasattr(module, "ARCHIVES"):
        raise ParamsError(f"{name!r} is not an encoder: see docs/add-an-encoder.md")
    if len(archives) != len(module.ARCHIVES):
        raise ArtifactError(f"encoder {name!r} needs the archives {', '.join(module.ARCHIVES)} and was given {len(archives)}")
    return module.load(archives)


def in_batches(folder: Path, clip_ids: Sequence[str], batch_seconds: float) -> list[list[str]]:
    """Clips of similar length together: at most ``batch_seconds`` of audio, padding included, or one clip.

    Raises AudioError when a clip is missing or is not audio.
    """
    seconds = {clip: files.length(folder / f"{clip}.flac")[0] for clip in clip_ids}
    batches: list[list[str]] = []
    for clip in sorted(clip_ids, key=lambda clip: (seconds[clip], clip)):
        if batches and seconds[clip] * (len(batches[-1]) + 1) <= batch_seconds:
            batches[-1].append(clip)
        else:
            batches.append([clip])
    return batches


def encode_folder(
    encoder: Encoder,
    folder: Path,
    clip_ids: Sequence[str],
    sample_rate: int,
    frames: Sequence[str],
    batch_seconds: float,
    means: Sequence[str] = (),
) -> Iterator[tuple[str, str, Tensor, float]]:
    """Features of ``<folder>/<clip>.flac`` as they are stored, so that fresh ones equal those on disk.

    Args:
        sample_rate: of the files, in Hz; they are brought to the encoder's.
        frames: outputs wanted whole: float16 ``[T, D]``.
        means: outputs wanted as a mean over time: float32 ``[1, D]``, under the name ``<output>.mean``, rate 0.
        batch_seconds: most audio handed to the encoder at once.

    Yields:
        (clip, output, tensor, frames per second), in the order of ``clip_ids``.

    Raises:
        ParamsError: the encoder has no such output.
        AudioError: a clip is missing, is not audio, has another rate, or is too short or too long for the encoder.
        ArtifactError: a feature is not finite in the precision that it is stored in.
    """
    for name in (*frames, *means):
        if name not in encoder.outputs:
            raise ParamsError(f"the encoder has no output {name!r}: choose from {', '.join(encoder.outputs)}")
    done: dict[str, list[tuple[str, str, Tensor, float]]] = {}
    for batch in track(in_batches(folder, clip_ids, batch_seconds), "encode", unit="batch"):
        waves = []
        for clip in batch:
            wave, rate = files.read(folder / f"{clip}.flac", expected_rate=sample_rate)
            waves.append(torch.from_numpy(files.resample(wave, rate, encoder.sample_rate)))
        lengths = torch.tensor([len(wave) for wave in waves])
        try:
            encoded = encoder(pad_sequence(waves, batch_first=True), lengths)
        except AudioError as error:
            raise AudioError(f"{folder}: {', '.join(batch)}: {error}") from None
        for i, clip in enumerate(batch):
            done[clip] = [(clip, name, encoded[name][i].half(), encoder.outputs[name].rate) for name in frames]
            done[clip] += [(clip, f"{name}.mean", encoded[name][i].mean(0, keepdim=True), 0.0) for name in means]
            for _, name, feature, _ in done[clip]:
                if not torch.isfinite(feature).all():
                    raise ArtifactError(f"{folder / clip}.flac: {name} is not finite as {feature.dtype}")
    for clip in clip_ids:
        yield from done.pop(clip)


def run(p: Experiment, encoder: str, shard: str, manifest: Path, clips: Path, archives: list[Path], out: Path) -> None:
    """Encode the clips of one shard that are of the encoder's domains, in manifest order."""
    settings = getattr(p.encoders, encoder)
    table = manifests.shard(manifests.read(manifest), int(shard), p.shards)
    ids = table.id[table.domain.isin(settings.domains)].tolist()
    network = load(encoder, archives)
    features = encode_folder(network, clips, ids, p.corpora.sample_rate, settings.frames, settings.batch_seconds, settings.means)
    write_features(out, features)
