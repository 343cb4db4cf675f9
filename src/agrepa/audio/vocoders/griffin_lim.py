"""Griffin-Lim: no network, phases that agree with the magnitudes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import griffinlim

from agrepa.audio.mel import filter_bank

if TYPE_CHECKING:
    from agrepa.params.audio import Mel, Vocoder

MOMENTUM = 0.99
INVERSION_STEPS = 30  # after which the mel bands of the magnitudes are those asked for, to 0.1 %


def magnitudes(log_mel: Tensor, mel: Mel, sample_rate: int) -> Tensor:
    """Non-negative STFT magnitudes ``[T, n_fft / 2 + 1]`` whose mel bands are those of ``log_mel`` ``[T, bands]``.

    Multiplicative updates for the Kullback-Leibler divergence (Lee and Seung, 2001), which weighs errors by ratio, as the ear
    does. Bins that no band covers stay 0.
    """
    bank, wanted = filter_bank(mel, sample_rate), log_mel.exp()
    covered = bank.sum(1) > 0
    bank = bank[covered]
    found = wanted @ bank.T
    for _ in range(INVERSION_STEPS):
        found = found * ((wanted / (found @ bank).clamp(min=1e-10)) @ bank.T) / bank.sum(1)
    result = log_mel.new_zeros(len(log_mel), len(covered))
    result[:, covered] = found
    return result


class GriffinLim:
    """Phases by the fast Griffin-Lim algorithm (Perraudin et al., 2013), from zero phase and so without chance.

    T frames give T hop samples with "same" padding, (T - 1) hop with "center".
    """

    def __init__(self, mel: Mel, sample_rate: int, iterations: int) -> None:
        self.mel, self.sample_rate, self.iterations = mel, sample_rate, iterations

    @torch.inference_mode()
    def __call__(self, log_mel: Tensor) -> np.ndarray:
        mel = self.mel
        spectrum = magnitudes(log_mel.float().cpu(), mel, self.sample_rate)
        shifted = mel.padding == "same"
        if shifted:
            # The inverse transform centres frame j on sample hop j, and here it is hop (j + 1/2): with the outer frames
            # repeated the signal begins half a hop early and ends half a hop late.
            spectrum = torch.cat([spectrum[:1], spectrum, spectrum[-1:]])
        window = torch.hann_window(mel.n_fft)
        wave = griffinlim(spectrum.T, window, mel.n_fft, mel.hop, mel.n_fft, 1.0, self.iterations, MOMENTUM, None, False)
        if shifted:
            wave = wave[mel.hop // 2 :][: len(log_mel) * mel.hop]
        return wave.numpy()


def load(settings: Vocoder, mel: Mel, sample_rate: int, archives: list[Path]) -> GriffinLim:
    """Griffin-Lim with ``settings.iterations``; it reads no archive."""
    return GriffinLim(mel, sample_rate, settings.iterations)
