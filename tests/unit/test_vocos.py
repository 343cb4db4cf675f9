"""The vocoder Vocos on tiny random weights in its library's own format."""

from __future__ import annotations

import sys

import numpy as np
import packing
import pytest
import tiny_networks
import torch
import yaml
from tiny_networks import VOCOS_CONFIG as CONFIG

from agrepa.audio import files, vocoders
from agrepa.audio.mel import log_mel
from agrepa.audio.vocoders.vocos import FRONT_END
from agrepa.errors import ArtifactError, ParamsError
from agrepa.params.audio import Mel, Vocoder

SETTINGS = Vocoder(kind="vocos", archive="vocos")


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("vocos", reason="needs the extra paper: vocos, with encodec and einops")


@pytest.fixture
def published(library, tmp_path, monkeypatch):
    """(folder of config and weights as they are published, the library's own network)."""
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "vocos", tiny_networks.vocos(tmp_path / "vocos")


@pytest.fixture
def mel(demo):
    keys = {key: value for key, value in FRONT_END.items() if key != "sample_rate"}
    return Mel.model_validate(demo.mel.model_dump() | keys)


@pytest.fixture(scope="module")
def wave(recordings):
    return torch.from_numpy(files.resample(*recordings["speech"], 24000))[None]


def test_the_projects_spectrogram_is_the_one_vocos_was_trained_on(published, mel, wave):
    _, network = published
    expected = network.feature_extractor(wave)[0].T
    found = log_mel(wave, mel, 24000)[0]
    assert found.shape == expected.shape == (wave.shape[1] // 256 + 1, 100)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_it_is_the_librarys_network(published, mel, wave):
    folder, network = published
    sound = vocoders.load(SETTINGS, mel, 24000, [packing.packed(folder)])
    spectrogram = log_mel(wave, mel, 24000)[0]
    found = sound(spectrogram)
    assert found.dtype == np.float32 and found.shape == ((len(spectrogram) - 1) * 256,)
    np.testing.assert_allclose(found, network.decode(spectrogram.T[None])[0].numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, network(wave)[0].numpy(), rtol=0, atol=2e-3 * float(np.abs(found).max()))
    assert np.array_equal(sound(spectrogram), found)


def test_another_spectrogram_is_refused(mel, demo):
    message = "vocoder vocos was trained on another spectrogram: sample_rate is 16000 and must be 24000; change mel and corpora"
    with pytest.raises(ParamsError, match=message):
        vocoders.load(SETTINGS, mel, 16000, [])
    with pytest.raises(ParamsError, match=r"bands is 80 and must be 100, .*floor is 0.001 and must be 1e-07"):
        vocoders.load(SETTINGS, demo.mel, 24000, [])
    with pytest.raises(ArtifactError, match="vocoder vocos needs the archive 'vocos' and was given none"):
        vocoders.load(SETTINGS, mel, 24000, [])
    assert FRONT_END.keys() == {"sample_rate", *Mel.model_fields} - {"statistics"}


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        (
            "feature_extractor",
            {"class_path": "vocos.feature_extractors.EncodecFeatures"},
            "has vocos.feature_extractors.EncodecF",
        ),
        (
            "head",
            {"class_path": "os.system", "init_args": {"command": "true"}},
            "has os.system for its head and must have vocos.hea",
        ),
        (
            "backbone",
            {"init_args": CONFIG["backbone"]["init_args"] | {"num_layers": 3}},
            "does not hold the weights of this kind",
        ),
    ],
)
def test_another_network_is_refused(published, mel, part, change, says):
    folder, _ = published
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {part: CONFIG[part] | change}))
    with pytest.raises(ArtifactError, match=says):
        vocoders.load(SETTINGS, mel, 24000, [packing.packed(folder)])


def test_a_config_of_another_spectrogram_is_refused(published, mel):
    folder, _ = published
    extractor = CONFIG["feature_extractor"]
    changed = extractor | {"init_args": extractor["init_args"] | {"sample_rate": 44100}}
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"feature_extractor": changed}))
    with pytest.raises(
        ArtifactError, match=r"vocos.zip: config.yaml is of another spectrogram, \[44100, 1024, 256, 100, 'center'\]"
    ):
        vocoders.load(SETTINGS, mel, 24000, [packing.packed(folder)])


def test_a_library_that_is_not_there_is_named(mel, tmp_path, monkeypatch):
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path / "cache"))
    folder = packing.written(tmp_path / "vocos", config__yaml=yaml.safe_dump(CONFIG).encode(), pytorch_model__bin={})
    for module in [name for name in sys.modules if name.split(".")[0] == "vocos"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "vocos", None)
    message = r"evaluation.vocoder, kind vocos, needs the library vocos, which is not installed: pip install 'agrepa\[paper\]'"
    with pytest.raises(ParamsError, match=message):
        vocoders.load(SETTINGS, mel, 24000, [packing.packed(folder)])
