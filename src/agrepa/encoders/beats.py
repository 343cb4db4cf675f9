"""BEATs (Chen et al., 2023), the paper's acoustic teacher, as speechbrain runs it on the published checkpoint."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agrepa.archives.containers import zip_member
from agrepa.archives.weights import only_member, read_weights
from agrepa.encoders.protocol import Output, exactly, unpad
from agrepa.errors import ArtifactError
from agrepa.extras import library

SAMPLE_RATE = 16000
ARCHIVES = ("hub", "folder")
LIBRARY = "speechbrain"
# Of the published networks, which have 12 blocks and patches of 16 frames.
OUTPUTS = {
    "layer0": 2560,
    "layer1": 2560,
    "layer2": 2560,
    "layer3": 2560,
    "layer4": 2560,
    "layer5": 2560,
    "layer6": 2560,
    "layer7": 2560,
    "layer8": 2560,
    "layer9": 2560,
    "layer10": 2560,
    "layer11": 2560,
    "last": 2560,
}
WINDOW, HOP, BANDS, PATCH = 400, 160, 128, 16  # samples of a filter bank's frame; its bands; frames and bands of a patch
SHORTEST = WINDOW + (PATCH - 1) * HOP


class Beats(nn.Module):
    """Outputs, all at 6.25 Hz: ``layer0`` …, where layer k is the residual stream after k blocks (layer 0 is the patches plus
    their positions), and ``last``, after all blocks.

    The network cuts the filter bank into patches of 16 frames and 16 bands. Here a frame is the mean over the 8 patches of one
    time, so that the mean over frames is that over patches. A clip of N samples has T = floor((1 + floor((N - 400) / 160)) / 16)
    frames; frame j is centred on 87.5 ms + 160 ms j.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.depth, width = network.cfg.encoder_layers, network.cfg.encoder_embed_dim
        first = (WINDOW + (PATCH - 1) * HOP) / 2 / SAMPLE_RATE
        names = [*(f"layer{k}" for k in range(self.depth)), "last"]
        self.outputs = {name: Output(SAMPLE_RATE / OUTPUTS["last"], width, first) for name in names}

    def encode(self, wave: Tensor) -> dict[str, Tensor]:
        """Every output of one clip ``[N]``, as ``[T, D]``."""
        # The whole clip counts, and must be said to: without lengths the library stops. Its layers are [patches, 1, D].
        hidden = self.network(wave[None], wav_lens=torch.ones(1, device=wave.device))[0][:, :, 0]
        hidden = hidden.unflatten(1, (-1, BANDS // PATCH)).mean(2)
        return dict(zip(self.outputs, hidden, strict=True))

    @torch.inference_mode()
    def forward(self, waves: Tensor, lengths: Tensor) -> dict[str, list[Tensor]]:
        """See ``Network.__call__``. Takes clips of 175 ms at least, one at a time."""
        clips = [self.encode(wave) for wave in unpad(waves, lengths, SHORTEST)]
        return {name: [clip[name] for clip in clips] for name in self.outputs}


def load(archives: list[Path]) -> Beats:
    """The network from the published checkpoint, a mapping of ``cfg`` and ``model``: the only file of its archive.

    Raises ParamsError when speechbrain is not installed, ArtifactError when the file is no such checkpoint, CorpusError when the
    archive is missing or damaged.
    """
    (archive,) = exactly(1, archives)
    published = library("speechbrain.lobes.models.beats", "encoders, kind beats,").BEATs
    name = only_member(archive)
    checkpoint = read_weights(archive, name)  # of nothing but tensors and plain values: the library may read it too
    if not isinstance(checkpoint, dict) or not {"cfg", "model"} <= checkpoint.keys():
        raise ArtifactError(f"{archive}: {name} is no mapping of cfg and model: is it the published checkpoint?")
    if checkpoint["cfg"].get("input_patch_size", PATCH) != PATCH or checkpoint["cfg"].get("layer_norm_first"):
        raise ArtifactError(f"{archive}: {name} is no network of patches of {PATCH} that ends without a norm: take another")
    # What the library draws for the weights, before it reads them, is thrown away.
    with tempfile.NamedTemporaryFile(suffix=".pt") as file, torch.random.fork_rng(devices=[]):
        file.write(zip_member(archive, name))
        file.flush()
        try:
            return Beats(published(file.name, freeze=True, output_all_hiddens=True))
        except RuntimeError as error:
            raise ArtifactError(f"{archive}: {name} does not fit its own cfg: {' '.join(str(error).split())[:400]}") from None
