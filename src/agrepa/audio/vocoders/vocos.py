"""Vocos (Siuzdak, 2024), the paper's vocoder, from the published config.yaml and weights of its library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from torch import Tensor

from agrepa.archives.containers import zip_member
from agrepa.archives.weights import fill, member, read_weights
from agrepa.errors import ArtifactError
from agrepa.extras import library

if TYPE_CHECKING:
    from agrepa.params.audio import Mel, Vocoder

ARCHIVES = ("hub", "folder")
LIBRARY = "vocos"
# The spectrogram that the network was trained on, in the params' words.
FRONT_END = {
    "sample_rate": 24000,
    "n_fft": 1024,
    "hop": 256,
    "bands": 100,
    "f_min": 0.0,
    "f_max": 12000.0,
    "scale": "htk",
    "norm": None,
    "padding": "center",
    "floor": 1e-7,
}
# The parts of the network that reads spectrograms. A config may name no other class: what it names is run.
PARTS = {
    "feature_extractor": "vocos.feature_extractors.MelSpectrogramFeatures",
    "backbone": "vocos.models.VocosBackbone",
    "head": "vocos.heads.ISTFTHead",
}


def network(archive: Path) -> Any:
    """The library's ``Vocos``; ``network.decode`` is ``[1, 100, T]`` -> ``[1, 256 (T - 1)]``.

    Raises ArtifactError when config or weights are not those of the network that reads spectrograms.
    """
    parts: dict[str, Any] = {}
    config = yaml.safe_load(zip_member(archive, member(archive, "config.yaml")))
    for part, place in PARTS.items():
        settings = config.get(part) or {}
        if settings.get("class_path") != place:
            raise ArtifactError(f"{archive}: config.yaml has {settings.get('class_path')} for its {part} and must have {place}")
        module, _, name = place.rpartition(".")
        parts[part] = getattr(library(module, "evaluation.vocoder, kind vocos,"), name)(**settings.get("init_args") or {})
    spectrum = parts["feature_extractor"].mel_spec
    trained_on = [spectrum.sample_rate, spectrum.n_fft, spectrum.hop_length, spectrum.n_mels, parts["feature_extractor"].padding]
    if trained_on != (wanted := [FRONT_END[key] for key in ("sample_rate", "n_fft", "hop", "bands", "padding")]):
        raise ArtifactError(f"{archive}: config.yaml is of another spectrogram, {trained_on}: vocos reads {wanted}")
    found = library("vocos", "evaluation.vocoder, kind vocos,").Vocos(**parts)
    fill(found, read_weights(archive, "model.safetensors", "pytorch_model.bin"), archive)
    return found


def load(settings: Vocoder, mel: Mel, sample_rate: int, archives: list[Path]) -> Callable[[Tensor], np.ndarray]:
    """The vocoder from the archive ``settings.archive``; see ``agrepa.audio.vocoders.load``."""
    (archive,) = archives
    vocos = network(archive)

    @torch.inference_mode()
    def sound(log_mel: Tensor) -> np.ndarray:
        return vocos.decode(log_mel.float().cpu().T[None])[0].numpy()

    return sound
