"""The paper's networks with tiny random weights, each written in its own library's format, as its files are published.

The libraries of the extra ``paper`` are imported where they are used: a test skips where they are not installed.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from unittest import mock

import packing
import torch
import yaml
from torch import Tensor, nn
from transformers import (
    HubertConfig,
    HubertForCTC,
    PreTrainedModel,
    WavLMConfig,
    WavLMForXVector,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

BEATS_CFG = {
    **{"input_patch_size": 16, "embed_dim": 12, "conv_bias": False, "encoder_layers": 3, "encoder_embed_dim": 16},
    **{"encoder_ffn_embed_dim": 24, "encoder_attention_heads": 2, "activation_fn": "gelu", "layer_norm_first": False},
    **{"deep_norm": True, "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.0, "encoder_layerdrop": 0.05},
    **{"dropout_input": 0.1, "conv_pos": 8, "conv_pos_groups": 4, "relative_position_embedding": True, "num_buckets": 32},
    **{"max_distance": 64, "gru_rel_pos": True, "finetuned_model": False, "layer_wise_gradient_decay_ratio": 0.6},
}
S3_CLASSES = {
    "v1": ("model", "S3Tokenizer", "ModelConfig"),
    "v2": ("model_v2", "S3TokenizerV2", "ModelConfig"),
    "v3": ("model_v3", "S3TokenizerV3", "ModelConfigV3"),
}
S3_SIZES = {"n_mels": 128, "n_audio_state": 128, "n_audio_head": 2, "n_audio_layer": 2}
VOCOS_CONFIG = {
    "feature_extractor": {
        "class_path": "vocos.feature_extractors.MelSpectrogramFeatures",
        "init_args": {"sample_rate": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": 100, "padding": "center"},
    },
    "backbone": {
        "class_path": "vocos.models.VocosBackbone",
        "init_args": {"input_channels": 100, "dim": 16, "intermediate_dim": 24, "num_layers": 2},
    },
    "head": {
        "class_path": "vocos.heads.ISTFTHead",
        "init_args": {"dim": 16, "n_fft": 1024, "hop_length": 256, "padding": "center"},
    },
}
LETTERS = "|ETAOINSHRDLUMWCFGYPBVK'XJQZ"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": [16] * 7}
SIZES |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "vocab_size": 4 + len(LETTERS), "pad_token_id": 0}
FRONT = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True, "feature_size": 1, "padding_side": "right"}
FRONT |= {"padding_value": 0, "return_attention_mask": True, "sampling_rate": 16000}
# The names that older versions of torch gave to what a weight norm is made of.
WEIGHT_NORM = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def whisper(folder: Path, kind: type[PreTrainedModel] = WhisperForConditionalGeneration) -> Path:
    """A Whisper of two blocks as transformers saves it."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_layers": 1}
    sizes |= {
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 8,
        "vocab_size": 40,
        "max_target_positions": 8,
        "num_mel_bins": 128,
    }
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    kind(WhisperConfig(**sizes, **tokens)).save_pretrained(folder)
    return folder


def beats(folder: Path, name: str = "BEATs_tiny.pt") -> Path:
    """A BEATs of three blocks as it is published: a mapping of cfg and model."""
    library = importlib.import_module("speechbrain.lobes.models.beats")
    torch.manual_seed(0)
    of_cfg = library.BEATsConfig
    with mock.patch.object(library, "BEATsConfig", lambda cfg: of_cfg(BEATS_CFG)):  # it reads sizes from a checkpoint alone
        network = library.BEATs()
    folder.mkdir(parents=True)
    torch.save({"cfg": BEATS_CFG, "model": older_names(network)}, folder / name)
    return folder


def s3(version: str) -> nn.Module:
    """A speech tokenizer of the library's own class; the codebook of version 1 is of unit vectors, as its frames are."""
    importlib.import_module("s3tokenizer")
    module, name, config = S3_CLASSES[version]
    library = importlib.import_module(f"s3tokenizer.{module}")
    torch.manual_seed(0)
    network: nn.Module = getattr(library, name)(f"speech_tokenizer_{version}", getattr(library, config)(**S3_SIZES)).eval()
    if version == "v1":
        network.quantizer._codebook.embed.copy_(torch.nn.functional.normalize(torch.randn(4096, 128)))
    else:
        torch.nn.init.normal_(network.quantizer._codebook.project_down.weight)
    return network


def as_onnx(network: nn.Module) -> bytes:
    """Version 1 as it is published: ONNX, in whose graph a weight is known by its node, and matrices are transposed."""
    from onnx import helper, numpy_helper

    ends = {"_ln.weight": "_ln/Mul", "_ln.bias": "_ln/Add_1", ".weight": "/MatMul", ".bias": "/Add"}
    convolutions = ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"]
    nodes, initializers = [], []
    for key, tensor in network.state_dict().items():
        place, name = key.removeprefix("encoder."), f"onnx::{len(nodes)}"
        if place in convolutions:
            node = name = f"onnx::Conv_{1519 + convolutions.index(place)}"
        elif place == "positional_embedding":
            node = name = "encoders.positional_embedding"
        elif place.startswith("quantizer"):
            node = "/quantizer/rq/model/layers.0/_codebook/Pow_1"
        else:
            end = next(end for end in ends if place.endswith(end))
            block, rest = place.removesuffix(end).split(".", 2)[1:]
            node = f"/blocks.{block}/{rest.replace('mlp.', 'mlp/mlp.').replace('attn.', 'attn/')}{ends[end]}"
        matrix = tensor.ndim == 2 and name != "encoders.positional_embedding"
        initializers.append(numpy_helper.from_array((tensor.T if matrix else tensor).contiguous().numpy(), name))
        nodes.append(helper.make_node("Identity", [name], [f"out{len(nodes)}"], name=node))
    made: bytes = helper.make_model(helper.make_graph(nodes, "network", [], [], initializers)).SerializeToString()
    return made


def vggish() -> dict[str, Tensor]:
    """All 72 million weights of a VGGish, which has one size."""
    sizes: dict[str, tuple[int, ...]] = {}
    convolutions = {0: (1, 64), 3: (64, 128), 6: (128, 256), 8: (256, 256), 11: (256, 512), 13: (512, 512)}
    for place, (width, channels) in convolutions.items():
        sizes |= {f"features.{place}.weight": (channels, width, 3, 3), f"features.{place}.bias": (channels,)}
    for place, (width, channels) in {0: (12288, 4096), 2: (4096, 4096), 4: (4096, 128)}.items():
        sizes |= {f"embeddings.{place}.weight": (channels, width), f"embeddings.{place}.bias": (channels,)}
    spread = {name: (2 / torch.Size(size[1:]).numel()) ** 0.5 for name, size in sizes.items()}
    # Sines of unlike arguments, which are there sooner than as many random numbers.
    count = {name: torch.arange(torch.Size(size).numel(), dtype=torch.float32) for name, size in sizes.items()}
    return {name: (torch.sin(count[name] * 12.9898).reshape(size) * spread[name]) for name, size in sizes.items()}


def vocos(folder: Path) -> nn.Module:
    """The library's network whose config and weights are then in the folder."""
    library = importlib.import_module("vocos")
    torch.manual_seed(0)
    packing.written(folder, config__yaml=yaml.safe_dump(VOCOS_CONFIG).encode())
    network: nn.Module = library.Vocos.from_hparams(str(folder / "config.yaml")).eval()
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    return network


def hubert(folder: Path) -> HubertForCTC:
    """A recogniser by CTC of two blocks, whose files are then in the folder."""
    torch.manual_seed(0)
    network = HubertForCTC(HubertConfig(**SIZES, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)).eval()
    torch.nn.init.normal_(network.lm_head.weight)
    characters = ["<pad>", "<s>", "</s>", "<unk>", *LETTERS]
    packing.written(folder, vocab__json={character: i for i, character in enumerate(characters)})
    _save(network, folder)
    return network


def wavlm(folder: Path) -> WavLMForXVector:
    """A network of speaker vectors of two blocks, whose files are then in the folder."""
    torch.manual_seed(0)
    sizes = {"tdnn_dim": [16, 16, 16, 16, 24], "xvector_output_dim": 8}
    network = WavLMForXVector(WavLMConfig(**SIZES, **sizes)).eval()
    _save(network, folder)
    return network


def older_names(network: nn.Module) -> dict[str, Tensor]:
    """The weights of a network, with the names of weight norms that published checkpoints have."""
    state = network.state_dict()
    for new, old in WEIGHT_NORM.items():
        state = {key.replace(new, old): tensor for key, tensor in state.items()}
    if not any(key.endswith("weight_g") for key in state):
        raise AssertionError("the network has no weight norm under the names that are replaced")
    return state


def _save(network: PreTrainedModel, folder: Path) -> None:
    """As older versions of transformers published a network: a torch checkpoint, its config and its front end."""
    packing.written(folder, pytorch_model__bin=older_names(network), preprocessor_config__json=FRONT)
    network.config.save_pretrained(folder)
