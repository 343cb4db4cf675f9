"""The encode stage: what a frozen network says about the clips of a shard; also used on generated audio."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from agrepa.archives.containers import named
from agrepa.artifacts.features import Stored, write_shard
from agrepa.audio import files
from agrepa.corpora import manifest as manifests
from agrepa.encoders.protocol import Network
from agrepa.errors import ArtifactError, AudioError, ParamsError
from agrepa.job import In, Ins, Out, Wildcard
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.encoders import Encoder
    from agrepa.params.stages import EncodeSettings

MEAN = ".mean"  # ends the name of an output that is kept as its mean over time


def load(encoder: Encoder, archives: list[Path]) -> Network:
    """The network of module ``agrepa.encoders.<kind>``.

    Args:
        archives: downloads among which are those that the encoder names, in any order.

    Raises:
        ParamsError: there is no such kind.
        ArtifactError, CorpusError: an archive is missing or is not the pinned one.
    """
    place = f"agrepa.encoders.{encoder.kind}"
    module = importlib.import_module(place) if importlib.util.find_spec(place) else None
    if module is None or not hasattr(module, "OUTPUTS"):
        raise ParamsError(f"{encoder.kind!r} is no kind of encoder: see docs/add-an-encoder.md")
    found = named(archives)
    if missing := [name for name in encoder.archives if name not in found]:
        raise ArtifactError(
            f"encoder {encoder.label} is loaded from {', '.join(encoder.archives)}: "
            f"{', '.join(missing)} was not among the archives given, {', '.join(found) or 'none'}"
        )
    return module.load([found[name] for name in encoder.archives])


def in_batches(seconds: Mapping[str, float], batch_seconds: float) -> list[list[str]]:
    """Clips of similar length together: at most ``batch_seconds`` of audio, padding included, or one clip."""
    batches: list[list[str]] = []
    for clip in sorted(seconds, key=lambda clip: (seconds[clip], clip)):
        if batches and seconds[clip] * (len(batches[-1]) + 1) <= batch_seconds:
            batches[-1].append(clip)
        else:
            batches.append([clip])
    return batches


def lead_frames(network: Network, seconds: float, names: Iterable[str]) -> dict[str, int]:
    """Frames of each output that ``seconds`` of silence make; ParamsError when they are not whole."""
    counts = {name: seconds * network.outputs[name].rate for name in names}
    for name, count in counts.items():
        if abs(count - round(count)) > 1e-6:
            step = 1 / network.outputs[name].rate
            raise ParamsError(f"lead_seconds {seconds} is {count:g} frames of {name}: make it a multiple of {step:g} s")
    return {name: round(count) for name, count in counts.items()}


def encode_clips(
    network: Network,
    seconds: Mapping[str, float],
    read: Callable[[str], np.ndarray],
    sample_rate: int,
    frames: Sequence[str],
    encoder: Encoder,
    means: Sequence[str] = (),
) -> Iterator[Stored]:
    """Features as they are stored, so that fresh ones equal those on disk.

    Args:
        seconds: the clips' lengths.
        read: clip -> its wave ``[N]`` at ``sample_rate`` Hz, which is brought to the network's.
        frames: outputs wanted whole: float16 ``[T, D]``, or codes as they are, int32 ``[T, 1]``.
        encoder: settings of the network: its ``batch_seconds`` are the most audio that it is handed at once, and it hears
            ``lead_seconds`` of silence before every clip, whose frames are cut off again.
        means: outputs wanted as a mean over time: float32 ``[1, D]``, under the name ``<output>.mean``, rate 0.

    Yields:
        In the order of ``seconds``.

    Raises:
        ParamsError: the network has no such output, or the silence is no whole number of its frames.
        AudioError: a clip is too short or too long for the network.
        ArtifactError: a feature is not finite in the precision that it is stored in.
    """
    for name in (*frames, *means):
        if name not in network.outputs:
            raise ParamsError(f"the encoder has no output {name!r}: choose from {', '.join(network.outputs)}")
    outputs = {name: network.outputs[name] for name in (*frames, *means)}
    lead = lead_frames(network, encoder.lead_seconds, outputs)
    silence = round(encoder.lead_seconds * network.sample_rate)
    done: dict[str, list[Stored]] = {}
    heard = {clip: length + encoder.lead_seconds for clip, length in seconds.items()}
    for batch in track(in_batches(heard, encoder.batch_seconds), "encode", unit="batch"):
        waves = [torch.from_numpy(files.resample(read(clip), sample_rate, network.sample_rate)) for clip in batch]
        waves = [functional.pad(wave, (silence, 0)) for wave in waves]
        lengths = torch.tensor([len(wave) for wave in waves])
        try:
            encoded = network(pad_sequence(waves, batch_first=True), lengths)
        except AudioError as error:
            raise AudioError(f"{', '.join(batch)}: {error}") from None
        for i, clip in enumerate(batch):
            own = {name: encoded[name][i][lead[name] :] for name in outputs}
            for name, values in own.items():
                if not len(values):
                    raise AudioError(f"{clip}: is too short for a frame of {name}: drop it")
            done[clip] = [
                Stored(
                    clip, name, own[name] if outputs[name].codes else own[name].half(), outputs[name].rate, outputs[name].first
                )
                for name in frames
            ]
            done[clip] += [Stored(clip, f"{name}{MEAN}", own[name].mean(0, keepdim=True), 0.0) for name in means]
            for feature in done[clip]:
                if not torch.isfinite(feature.tensor).all():
                    raise ArtifactError(f"{clip}: {feature.output} is not finite as {feature.tensor.dtype}")
    for clip in seconds:
        yield from done.pop(clip)


def encode_folder(
    network: Network, folder: Path, clip_ids: Sequence[str], sample_rate: int, frames: Sequence[str], encoder: Encoder
) -> Iterator[Stored]:
    """``encode_clips`` over ``<folder>/<clip>.flac``, in the order of ``clip_ids``.

    Raises AudioError also when a clip is missing, is not audio or has another sample rate.
    """

    def read(clip: str) -> np.ndarray:
        return files.read(folder / f"{clip}.flac", expected_rate=sample_rate)[0]

    seconds = {clip: files.length(folder / f"{clip}.flac")[0] for clip in clip_ids}
    return encode_clips(network, seconds, read, sample_rate, frames, encoder)


def run(p: EncodeSettings, *, encoder: Wildcard, shard: Wildcard, manifest: In, archives: Ins, frames: Out, means: Out) -> None:
    """Encode the clips of one shard that are of the encoder's domains: one file of frames and one of means over time."""
    settings = p.encoder
    table = manifests.shard(manifests.read(manifest), int(shard), p.shards)
    rows = {row.id: row for row in table[table.domain.isin(settings.domains)].itertuples()}

    def read(clip: str) -> np.ndarray:
        return manifests.wave(rows[clip], p.sample_rate)

    seconds = {clip: row.seconds for clip, row in rows.items()}
    network = load(settings, archives)
    encoded = list(encode_clips(network, seconds, read, p.sample_rate, settings.frames, settings, settings.means))
    write_shard(frames, encoder, [feature for feature in encoded if not feature.output.endswith(MEAN)])
    write_shard(means, encoder, [feature for feature in encoded if feature.output.endswith(MEAN)])
