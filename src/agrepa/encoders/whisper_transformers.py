"""The encoder of Whisper (Radford et al., 2022) of any size, as transformers runs it: the paper's semantic teacher is large-v3.

Each clip is padded with silence to the 30 s that the network was trained on, and the silence's frames are cut off again: the
encoder looks at the whole 30 s, whatever attention mask it is given.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from agrepa.archives.weights import TRANSFORMERS, beneath, fill, read_settings, read_weights
from agrepa.encoders.protocol import Output, exactly, unpad
from agrepa.errors import ArtifactError

SAMPLE_RATE = 16000
ARCHIVES = ("hub", "folder")
# Of large-v3, which has 32 blocks; a smaller one has fewer layers.
OUTPUTS = {
    "layer0": 320,
    "layer1": 320,
    "layer2": 320,
    "layer3": 320,
    "layer4": 320,
    "layer5": 320,
    "layer6": 320,
    "layer7": 320,
    "layer8": 320,
    "layer9": 320,
    "layer10": 320,
    "layer11": 320,
    "layer12": 320,
    "layer13": 320,
    "layer14": 320,
    "layer15": 320,
    "layer16": 320,
    "layer17": 320,
    "layer18": 320,
    "layer19": 320,
    "layer20": 320,
    "layer21": 320,
    "layer22": 320,
    "layer23": 320,
    "layer24": 320,
    "layer25": 320,
    "layer26": 320,
    "layer27": 320,
    "layer28": 320,
    "layer29": 320,
    "layer30": 320,
    "layer31": 320,
    "last": 320,
}
HOP = 160
POSITIONS = 1500
SHORTEST = 2 * HOP  # as for the encoder that is not padded
LONGEST = 2 * HOP * POSITIONS


class PaddedWhisper(nn.Module):
    """Outputs, all at 50 Hz: ``layer0`` …, where layer k is the residual stream after k blocks (layer 0 is the convolutions'
    output plus the positions), and ``last``, after all blocks and the final layer norm.

    A clip of N samples has T = ceil(floor(N / 160) / 2) frames, those of its own log-mel frames; frame i is centred on i / 50 s.
    By the feature extractor's attention mask there is a log-mel frame more where 160 does not divide N.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, config: WhisperConfig, weights: dict[str, Tensor], archive: Path) -> None:
        super().__init__()
        with torch.device("meta"):  # no random initialisation
            self.network = WhisperEncoder(config)
        fill(self.network, weights, archive)
        self.front = WhisperFeatureExtractor(feature_size=config.num_mel_bins)
        names = [*(f"layer{k}" for k in range(config.encoder_layers)), "last"]
        self.outputs = {name: Output(SAMPLE_RATE / OUTPUTS["last"], config.d_model, first=0.0) for name in names}

    def encode(self, wave: Tensor) -> dict[str, Tensor]:
        """Every output of one clip ``[N]``, as ``[T, D]``."""
        front = self.front(wave.cpu().numpy(), sampling_rate=self.sample_rate, return_tensors="pt")
        found = self.network(front.input_features.to(wave.device), output_hidden_states=True)
        frames = (len(wave) // HOP + 1) // 2
        hidden = [*found.hidden_states[: len(self.outputs) - 1], found.last_hidden_state]
        return {name: states[0, :frames] for name, states in zip(self.outputs, hidden, strict=True)}

    @torch.inference_mode()
    def forward(self, waves: Tensor, lengths: Tensor) -> dict[str, list[Tensor]]:
        """See ``Network.__call__``. Takes clips of 20 ms to 30 s, one at a time."""
        clips = [self.encode(wave) for wave in unpad(waves, lengths, SHORTEST, LONGEST)]
        return {name: [clip[name] for clip in clips] for name in self.outputs}


def load(archives: list[Path]) -> PaddedWhisper:
    """The encoder from ``config.json`` and the weights as transformers publishes them; the decoder's are left.

    Raises ArtifactError when the archive holds no Whisper, CorpusError when it is missing or damaged.
    """
    (archive,) = exactly(1, archives)
    settings = read_settings(archive)
    if settings.get("model_type") != "whisper" or settings.get("max_source_positions") != POSITIONS:
        raise ArtifactError(f"{archive}: config.json is not of a Whisper of {POSITIONS} positions: correct its files")
    weights = beneath(read_weights(archive, *TRANSFORMERS), ("model.encoder.", "encoder."), archive)
    return PaddedWhisper(WhisperConfig.from_dict(settings), weights, archive)
