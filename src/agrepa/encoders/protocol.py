"""What a frozen network is to the rest of the project: named outputs of a batch of waveforms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from agrepa.errors import AudioError, ParamsError


@dataclass(frozen=True)
class Output:
    """One output of an encoder.

    Attributes:
        rate: frames per second of audio.
        dim: channels of a frame.
        first: where the first frame's centre lies in the clip, in seconds; None is half a frame.
        codes: how many codes there are, where a frame is one of them; None where it is a vector.
    """

    rate: float
    dim: int
    first: float | None = None
    codes: int | None = None


class Network(Protocol):
    """A frozen network in evaluation mode.

    The module that defines one, ``agrepa.encoders.<kind>``, has beside it::

        SAMPLE_RATE = 16000                           # as below; both literally: params are checked against them
        OUTPUTS = {"name": 320, ...}                  # the keys of ``outputs``, and the samples from one frame to the next
        def load(archives: list[Path]) -> Network     # the downloads that the encoder's params name, in that order

    and, where it applies, literally too::

        ARCHIVES = ("hub", "folder")                  # the kinds of archives that it is read from, if that is no wheel
        LIBRARY = "name"                              # an optional library that it needs
        CODES = {"name": 4096}                        # outputs whose frames are codes, and how many codes there are

    Attributes:
        sample_rate: Hz that the waveforms must have.
        outputs: what ``__call__`` returns, by name.
    """

    sample_rate: int
    outputs: dict[str, Output]

    def __call__(self, waves: Tensor, lengths: Tensor) -> dict[str, list[Tensor]]:
        """Encode clips; a clip's features do not depend on the clips beside it nor on the padding after it.

        Args:
            waves: ``[B, N]`` float32 in -1..1 at ``sample_rate``, padded at the end with anything.
            lengths: ``[B]`` int64, true samples of each clip.

        Returns:
            For every output, one float32 ``[T_i, D]`` a clip, or int32 ``[T_i, 1]`` of codes.

        Raises:
            AudioError: a clip is shorter or longer than the network can take.
        """
        ...


def exactly(count: int, archives: list[Path]) -> list[Path]:
    """The archives; ParamsError unless the encoder's params name ``count`` of them."""
    if len(archives) != count:
        raise ParamsError(
            f"this kind of encoder is loaded from {count} archives and its params name {len(archives)}: correct them"
        )
    return archives


def unpad(waves: Tensor, lengths: Tensor, shortest: int, longest: int | None = None) -> list[Tensor]:
    """Cut a batch ``[B, N]`` into its clips ``[N_i]``.

    Raises AudioError when a clip has fewer than ``shortest`` or more than ``longest`` samples.
    """
    for samples in lengths.tolist():
        if samples < shortest:
            raise AudioError(f"a clip of {samples} samples is shorter than the {shortest} that the encoder needs: drop it")
        if longest is not None and samples > longest:
            raise AudioError(f"a clip of {samples} samples is longer than the {longest} that the encoder takes: cut it")
    return [wave[:samples] for wave, samples in zip(waves, lengths.tolist(), strict=True)]
