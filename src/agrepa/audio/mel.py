"""Log-mel spectrograms, as HiFi-GAN ("same" padding) and Vocos ("center") compute them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from torchaudio.functional import melscale_fbanks

from agrepa.errors import AudioError

if TYPE_CHECKING:
    from agrepa.params.audio import Mel

# HiFi-GAN adds this to the power of every bin before the root.
POWER_OFFSET = 1e-9


@cache
def filter_bank(mel: Mel, sample_rate: int) -> Tensor:
    """Weights ``[n_fft / 2 + 1, bands]`` of the mel bands."""
    return melscale_fbanks(mel.n_fft // 2 + 1, mel.f_min, mel.f_max, mel.bands, sample_rate, mel.norm, mel.scale)


def margins(mel: Mel) -> tuple[int, int]:
    """Samples by which a wave is mirrored at its start and at its end."""
    if mel.padding == "center":
        return mel.n_fft // 2, mel.n_fft // 2
    return (mel.n_fft - mel.hop) // 2, (mel.n_fft - mel.hop + 1) // 2


def frames(n_samples: int, mel: Mel) -> int:
    """Frames of a clip of ``n_samples``: N // hop with "same" padding, one more with "center"."""
    return n_samples // mel.hop + (mel.padding == "center")


def first_centre(mel: Mel, sample_rate: int) -> float:
    """Seconds from a clip's start to the centre of its first frame: 0 with "center" padding, half a hop with "same"."""
    return 0.0 if mel.padding == "center" else mel.hop / 2 / sample_rate


def log_mel(waves: Tensor, mel: Mel, sample_rate: int) -> Tensor:
    """Natural logarithm of the magnitude mel spectrogram, floored at ``mel.floor``.

    Args:
        waves: ``[B, N]`` in -1..1. Frame j is centred on sample hop (j + 1/2) with "same" padding, on hop j with "center".

    Returns:
        ``[B, T, bands]``; see ``frames`` for T.

    Raises:
        AudioError: the waves are too short to be mirrored at their ends.
    """
    edges, samples = margins(mel), waves.shape[-1]
    if samples <= max(edges) or samples < mel.hop:
        raise AudioError(
            f"a clip of {samples} samples is too short for a spectrogram, which mirrors {max(edges)} at its end: drop it"
        )
    padded = functional.pad(waves, edges, mode="reflect")
    window = torch.hann_window(mel.n_fft, device=waves.device)
    spectrum = torch.stft(padded, mel.n_fft, mel.hop, window=window, center=False, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    magnitude = (power + POWER_OFFSET if mel.padding == "same" else power).sqrt()
    bands = magnitude.transpose(1, 2) @ filter_bank(mel, sample_rate).to(waves.device)
    return bands.clamp(min=mel.floor).log()
