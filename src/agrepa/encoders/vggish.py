"""VGGish (Hershey et al., 2017), the embedding of the Fréchet audio distance of Kilgour et al. (2019), and of the paper's FAD.

The weights are those of torchvggish, which frechet-audio-distance uses too; as there by default, the last ReLU and the principal
components are left out.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from agrepa.archives.weights import fill, only_member, read_weights
from agrepa.encoders.protocol import Output, exactly, unpad

SAMPLE_RATE = 16000
ARCHIVES = ("hub", "folder")
OUTPUTS = {"embedding": 15360}
WINDOW, FFT, HOP, BANDS = 400, 512, 160, 64
LOG_OFFSET = 0.01
PATCH = 96  # log-mel frames: 0.96 s
CHANNELS = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0)  # of each convolution; 0 is a pooling by two
HIDDEN, WIDTH = 4096, 128
PATCHES_AT_ONCE = 16


class VGGish(nn.Module):
    """Output ``embedding``: 128-d for each patch of 0.96 s, one behind the other, centred on the patch's middle.

    Log-mel frames that do not fill another patch are left out, as in the published code; a clip shorter than one patch is padded
    with silence, where the published code gives nothing.
    """

    sample_rate = SAMPLE_RATE
    outputs = {
        "embedding": Output(SAMPLE_RATE / OUTPUTS["embedding"], WIDTH, first=((PATCH - 1) * HOP + WINDOW) / 2 / SAMPLE_RATE)
    }
    bank: Tensor
    window: Tensor

    def __init__(self, weights: dict[str, Tensor], archive: Path) -> None:
        super().__init__()
        with torch.device("meta"):  # no random initialisation
            layers, width = list[nn.Module](), 1
            for channels in CHANNELS:
                layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()] if channels else [nn.MaxPool2d(2)]
                width = channels or width
            self.features = nn.Sequential(*layers)
            sizes = (width * (PATCH // 16) * (BANDS // 16), HIDDEN, HIDDEN, WIDTH)
            linear = [nn.Linear(*pair) for pair in pairwise(sizes)]
            self.embeddings = nn.Sequential(linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
        fill(self, weights, archive)
        bank = mel_filter_bank(FFT // 2 + 1, BANDS, 125.0, 7500.0, SAMPLE_RATE, None, "kaldi", triangularize_in_mel_space=True)
        self.register_buffer("bank", torch.from_numpy(bank).float())
        self.register_buffer("window", torch.hann_window(WINDOW))

    def patches(self, wave: Tensor) -> Tensor:
        """The log-mel spectrogram of a clip ``[N]`` in patches, ``[P, 1, 96, 64]``."""
        wave = functional.pad(wave, (0, max(WINDOW + (PATCH - 1) * HOP - len(wave), 0)))
        frames = wave.unfold(0, WINDOW, HOP) * self.window
        log_mel = torch.log(torch.fft.rfft(frames, FFT).abs() @ self.bank + LOG_OFFSET)
        return log_mel[: len(log_mel) // PATCH * PATCH].unflatten(0, (-1, 1, PATCH))

    def encode(self, wave: Tensor) -> Tensor:
        """Embeddings ``[P, 128]`` of one clip ``[N]``."""
        maps = [self.features(part) for part in self.patches(wave).split(PATCHES_AT_ONCE)]
        # In the order of TensorFlow, channels last, in which the weights were learnt.
        return torch.cat([self.embeddings(found.permute(0, 2, 3, 1).flatten(1)) for found in maps])

    @torch.inference_mode()
    def forward(self, waves: Tensor, lengths: Tensor) -> dict[str, list[Tensor]]:
        """See ``Network.__call__``. Takes clips of any length, one at a time."""
        return {"embedding": [self.encode(wave) for wave in unpad(waves, lengths, shortest=1)]}


def load(archives: list[Path]) -> VGGish:
    """The network from the checkpoint of torchvggish, the only file of its archive.

    Raises ArtifactError when it is no such checkpoint, CorpusError when the archive is missing or damaged.
    """
    (archive,) = exactly(1, archives)
    return VGGish(read_weights(archive, only_member(archive)), archive)
