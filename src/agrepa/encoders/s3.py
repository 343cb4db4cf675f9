"""S3, the speech tokenizers of CosyVoice (Du et al., 2024), as s3tokenizer runs them: an encoder that gives tokens itself."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from agrepa.archives.containers import zip_member
from agrepa.archives.weights import fill, identity, member, read_weights
from agrepa.encoders.protocol import Output, exactly, unpad
from agrepa.errors import ArtifactError
from agrepa.extras import library

SAMPLE_RATE = 16000
ARCHIVES = ("hub", "folder")
LIBRARY = "s3tokenizer"
# By version, which the file's name says: 50 Hz and 25 Hz, and how many codes each has.
OUTPUTS = {"v1": 320, "v2": 640, "v3": 640}
CODES = {"v1": 4096, "v2": 6561, "v3": 6561}
FILES = [f"speech_tokenizer_{version}{suffix}" for version in OUTPUTS for suffix in (".onnx", ".pt")]
# Version 1 at 25 Hz has the same name and weights of the same shapes: at 50 Hz its codes would mean nothing.
AT_25_HZ = "56285ddd4a83e883ee0cb9f8d69c1089b53a94b1f78ff7e4a0224a27eb4cb486"
HEAD_WIDTH = 64
HOP = 160
SHORTEST, LONGEST = 2 * HOP, 3000 * HOP  # samples; a longer clip would be cut into windows


class S3(nn.Module):
    """Output ``v1``, ``v2`` or ``v3``: int32 codes ``[T, 1]``, T = ceil(floor(N / 160) / 2), at 50 Hz (v1), or a half of that."""

    sample_rate = SAMPLE_RATE

    def __init__(self, version: str, network: Any, mel: Any) -> None:
        super().__init__()
        self.version, self.network, self.mel = version, network, mel
        self.outputs = {version: Output(SAMPLE_RATE / OUTPUTS[version], 1, first=0.0, codes=CODES[version])}

    def encode(self, wave: Tensor) -> Tensor:
        """Codes ``[T, 1]`` of one clip ``[N]``."""
        mel = self.mel(wave, self.network.config.n_mels)
        codes, lengths = self.network.quantize(mel[None], torch.tensor([mel.shape[1]], device=mel.device))
        return codes[0, : int(lengths[0]), None].int()

    @torch.inference_mode()
    def forward(self, waves: Tensor, lengths: Tensor) -> dict[str, list[Tensor]]:
        """See ``Network.__call__``. Takes clips of 20 ms to 30 s, one at a time."""
        return {self.version: [self.encode(wave) for wave in unpad(waves, lengths, SHORTEST, LONGEST)]}


def _network(version: str, weights: dict[str, Tensor], archive: Path) -> Any:
    """The library's class of a version, in the sizes of the weights."""
    places = {"v1": ("model", "S3Tokenizer", "ModelConfig"), "v2": ("model_v2", "S3TokenizerV2", "ModelConfig")}
    module, name, config = {**places, "v3": ("model_v3", "S3TokenizerV3", "ModelConfigV3")}[version]
    found = library(f"s3tokenizer.{module}", "encoders, kind s3,")
    if missing := [name for name in ("encoder.conv1.weight", "encoder.conv2.weight") if name not in weights]:
        raise ArtifactError(f"{archive} holds no speech tokenizer: it lacks {', '.join(missing)}")
    width, bands, _ = weights["encoder.conv1.weight"].shape
    blocks = {name.split(".")[2] for name in weights if name.startswith("encoder.blocks.")}
    sizes = {"n_mels": bands, "n_audio_state": width, "n_audio_head": width // HEAD_WIDTH, "n_audio_layer": len(blocks)}
    with torch.random.fork_rng(devices=[]):  # what is drawn for the weights is thrown away
        network = getattr(found, name)(f"speech_tokenizer_{version}", getattr(found, config)(**sizes))
    fill(network, weights, archive)
    if version == "v1" and not network.quantizer.codebook.any():
        raise ArtifactError(f"{archive}: its codebook is all zeros, so that every token would be 0: is it the published file?")
    return network


def load(archives: list[Path]) -> S3:
    """The tokenizer from its published ``.onnx``, or from the ``.pt`` that s3tokenizer makes of it.

    Raises ParamsError when s3tokenizer is not installed, ArtifactError when the file is not the tokenizer that its name says,
    CorpusError when the archive is missing or damaged.
    """
    (archive,) = exactly(1, archives)
    utils = library("s3tokenizer.utils", "encoders, kind s3,")
    name = member(archive, *FILES)
    version = PurePosixPath(name).stem.rpartition("_")[2]
    if identity(archive)["files"][name] == AT_25_HZ:
        raise ArtifactError(f"{archive}: {name} is the tokenizer of 25 Hz, which is not supported: take that of CosyVoice-300M")
    if name.endswith(".onnx"):
        read = utils.onnx2torch_v3 if version == "v3" else utils.onnx2torch
        weights = read(io.BytesIO(zip_member(archive, name)))
    else:
        weights = read_weights(archive, name)
    return S3(version, _network(version, weights, archive), utils.log_mel_spectrogram)
