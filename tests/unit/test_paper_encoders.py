"""The paper's encoders on tiny random weights in their libraries' own formats: equal to the library called directly."""

from __future__ import annotations

import sys
from types import ModuleType

import packing
import pytest
import tiny_networks
import torch
from tiny_networks import BEATS_CFG
from torch.nn.utils.rnn import pad_sequence
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperModel

from agrepa.audio import files
from agrepa.encoders import beats, extract, vggish, whisper_transformers
from agrepa.errors import ArtifactError, AudioError, ParamsError
from agrepa.params.base import stated
from agrepa.params.encoders import Encoder


@pytest.fixture(scope="module")
def waves(recordings):
    """Recordings at 16 kHz, of lengths that no hop divides."""
    found = [torch.from_numpy(files.resample(*recordings[clip], 16000)) for clip in recordings]
    return [wave[: len(wave) // 160 * 160 + 7] for wave in found]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path / "cache"))


def tiny_beats(folder):
    pytest.importorskip("speechbrain.lobes.models.beats", reason="needs the extra paper: speechbrain")
    return tiny_networks.beats(folder)


@pytest.fixture(params=["whisper_transformers", "beats"])
def encoder(request, tmp_path, cache):
    kind = request.param
    folder = tiny_networks.whisper(tmp_path / kind) if kind == "whisper_transformers" else tiny_beats(tmp_path / kind)
    settings = Encoder(kind=kind, label=kind, archives=[kind], domains=["speech"], frames=["last"])
    names = ("config.json", "model.safetensors") if kind == "whisper_transformers" else ()
    return kind, extract.load(settings, [packing.packed(folder, *names)])


def test_outputs_are_as_stated_and_depend_on_the_clip_alone(encoder, waves):
    kind, network = encoder
    rate, hops = stated("encoders", kind, "SAMPLE_RATE"), stated("encoders", kind, "OUTPUTS")
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = pad_sequence(waves, batch_first=True, padding_value=0.7)
    together = network(padded, lengths)
    assert together.keys() == network.outputs.keys() <= hops.keys()
    for name, output in network.outputs.items():
        assert output.rate == rate / hops[name]
        for i, wave in enumerate(waves):
            found = together[name][i]
            assert found.dtype == torch.float32 and found.shape[1] == output.dim
            assert abs(len(found) - len(wave) / rate * output.rate) <= 1
            alone = network(wave[None], lengths[i : i + 1])[name][0]
            torch.testing.assert_close(alone, found, rtol=0, atol=0)
    assert not any(torch.equal(a, b) for a, b in zip(together["last"], together["layer1"], strict=True))


def test_loading_draws_nothing_that_anything_else_draws(encoder, tmp_path):
    kind, _ = encoder
    module, state = sys.modules[f"agrepa.encoders.{kind}"], torch.get_rng_state()
    module.load([tmp_path / "downloads" / f"{kind}.zip"])
    assert torch.equal(torch.get_rng_state(), state)


def test_whisper_is_the_librarys_encoder_cut_to_the_clip(tmp_path, cache, waves):
    folder = tiny_networks.whisper(tmp_path / "whisper")
    network = whisper_transformers.load([packing.packed(folder, "config.json", "model.safetensors")])
    published = WhisperModel.from_pretrained(folder).get_encoder().eval()
    seen = []
    for layer in published.layers:
        layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for wave in waves:
        seen.clear()
        front = WhisperFeatureExtractor(feature_size=128)(wave.numpy(), sampling_rate=16000, return_tensors="pt")
        assert front.input_features.shape == (1, 128, 3000)
        with torch.no_grad():
            last = published(front.input_features).last_hidden_state
        found, frames = network(wave[None], torch.tensor([len(wave)])), (len(wave) // 160 + 1) // 2
        for name, whole in zip(("layer0", "layer1", "last"), (*seen, last), strict=True):
            torch.testing.assert_close(found[name][0], whole[0, :frames], rtol=1e-5, atol=1e-6)


def test_whisper_alone_or_with_its_heads_is_the_same_network(tmp_path, cache, waves):
    """Published checkpoints are of either, and name the encoder's weights accordingly."""
    names, wave = ("config.json", "model.safetensors"), waves[0]
    found = []
    for kind in (WhisperModel, WhisperForConditionalGeneration):
        folder = tiny_networks.whisper(tmp_path / kind.__name__, kind)
        found.append(
            whisper_transformers.load([packing.packed(folder, *names)])(wave[None], torch.tensor([len(wave)]))["last"][0]
        )
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize(("samples", "frames"), [(320, 1), (479, 1), (480, 2), (16000, 50), (480000, 1500)])
def test_whispers_frames(tmp_path, cache, samples, frames):
    network = whisper_transformers.load(
        [packing.packed(tiny_networks.whisper(tmp_path / "whisper"), "config.json", "model.safetensors")]
    )
    assert len(network(torch.randn(1, samples) * 0.1, torch.tensor([samples]))["last"][0]) == frames
    with pytest.raises(AudioError, match="480001 samples is longer than the 480000"):
        network(torch.zeros(1, 480001), torch.tensor([480001]))


def test_another_network_is_refused(tmp_path, cache):
    folder = packing.written(tmp_path / "other", config__json={"model_type": "bert"}, pytorch_model__bin={})
    with pytest.raises(ArtifactError, match=r"other.zip: config.json is not of a Whisper of 1500 positions"):
        whisper_transformers.load([packing.packed(folder)])
    config = {"model_type": "whisper", "max_source_positions": 1500, "d_model": 16, "encoder_attention_heads": 2}
    folder = packing.written(tmp_path / "empty", config__json=config, pytorch_model__bin={"decoder.x": torch.zeros(1)})
    with pytest.raises(ArtifactError, match=r"empty.zip has no weights under model.encoder. or encoder.: it has decoder.x"):
        whisper_transformers.load([packing.packed(folder)])


def test_beats_is_the_librarys_network_with_the_mean_over_frequencies(tmp_path, cache, waves):
    folder = tiny_beats(tmp_path / "beats")
    from speechbrain.lobes.models.beats import BEATs

    network, published = beats.load([packing.packed(folder)]), BEATs(str(folder / "BEATs_tiny.pt"), output_all_hiddens=True)
    for wave in waves:
        expected = published(wave[None], torch.ones(1))[0]  # [layer, patch, 1, D]
        frames = (1 + (len(wave) - 400) // 160) // 16
        assert expected.shape == (4, 8 * frames, 1, 16)
        found = network(wave[None], torch.tensor([len(wave)]))
        for name, layer in zip(("layer0", "layer1", "layer2", "last"), expected, strict=True):
            by_time = torch.stack([layer[8 * j : 8 * j + 8, 0].mean(0) for j in range(frames)])
            torch.testing.assert_close(found[name][0], by_time, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(found[name][0].mean(0), layer[:, 0].mean(0), rtol=1e-4, atol=1e-5)


def test_beats_frames_are_where_they_are_said_to_be(tmp_path, cache):
    """A click moves the patch of its time alone, where blocks and positions look at nothing else: in the patches themselves."""
    network = beats.load([packing.packed(tiny_beats(tmp_path / "beats"))])
    output = network.outputs["layer0"]
    with torch.no_grad():
        network.network.encoder.pos_conv[0].parametrizations.weight.original0.zero_()
    wave = torch.randn(16000 * 3, generator=torch.Generator().manual_seed(0)) * 0.01
    plain, offsets = network(wave[None], torch.tensor([len(wave)]))["layer0"][0], []
    for place in range(12000, 36000, 397):
        clicked = wave.clone()
        clicked[place] += 0.5
        energy = (network(clicked[None], torch.tensor([len(wave)]))["layer0"][0] - plain).square().sum(1)
        offsets.append(place / 16000 - float((energy * torch.arange(len(energy))).sum() / energy.sum()) / output.rate)
    assert sum(offsets) / len(offsets) == pytest.approx(output.first, abs=5e-3)


def test_beats_refuses_what_is_no_such_checkpoint(tmp_path, cache):
    folder = tiny_beats(tmp_path / "beats")
    network = beats.load([packing.packed(folder)])
    with pytest.raises(AudioError, match="2799 samples is shorter than the 2800"):
        network(torch.zeros(1, 2799), torch.tensor([2799]))
    whole = torch.load(folder / "BEATs_tiny.pt", weights_only=True)
    cases = {
        "plain": (whole["model"], "is no mapping of cfg and model: is it the published checkpoint"),
        "patches": (
            whole | {"cfg": BEATS_CFG | {"input_patch_size": 8}},
            "is no network of patches of 16 that ends without a norm",
        ),
        "sizes": (whole | {"cfg": BEATS_CFG | {"encoder_layers": 2}}, "does not fit its own cfg: .*Unexpected key"),
    }
    for name, (content, says) in cases.items():
        with pytest.raises(ArtifactError, match=rf"{name}.zip: network.pt {says}"):
            beats.load([packing.packed(packing.written(tmp_path / name, network__pt=content))])
    two = packing.written(tmp_path / "two", a__pt=whole, b__pt=whole)
    with pytest.raises(ArtifactError, match=r"two.zip holds a.pt, b.pt: name the checkpoint alone in its files"):
        beats.load([packing.packed(two)])


def test_a_library_that_is_not_there_is_named(tmp_path, monkeypatch):
    for module in [name for name in sys.modules if name.startswith("speechbrain")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "speechbrain", None)
    message = r"encoders, kind beats, needs the library speechbrain, which is not installed: pip install 'agrepa\[paper\]'"
    with pytest.raises(ParamsError, match=message):
        beats.load([tmp_path / "beats.zip"])


class TestVGGish:
    """Of random weights, all 72 million: the sizes are the checkpoint's alone."""

    @pytest.fixture(scope="class")
    def weights(self):
        return tiny_networks.vggish()

    @pytest.fixture(scope="class")
    def network(self, weights):
        return vggish.VGGish(weights, "vggish.zip")

    def test_it_is_the_published_network_on_the_published_spectrogram(self, network, weights, waves, monkeypatch):
        monkeypatch.setitem(sys.modules, "resampy", ModuleType("resampy"))  # imported by torchvggish, and not called here
        published = pytest.importorskip("torchvggish.torchvggish", reason="needs torchvggish")
        from torchvggish import mel_features

        oracle = published._vgg()
        oracle.load_state_dict(weights)
        oracle.embeddings = oracle.embeddings[:-1]
        for wave in waves:
            wave = torch.nn.functional.pad(wave, (0, max(15600 - len(wave), 0)))
            settings = {"log_offset": 0.01, "window_length_secs": 0.025, "hop_length_secs": 0.010, "num_mel_bins": 64}
            settings |= {"lower_edge_hertz": 125, "upper_edge_hertz": 7500, "audio_sample_rate": 16000}
            log_mel = mel_features.log_mel_spectrogram(wave.double().numpy(), **settings)
            examples = torch.from_numpy(mel_features.frame(log_mel, 96, 96)).float()[:, None]
            torch.testing.assert_close(network.patches(wave), examples, rtol=0, atol=1e-3)
            with torch.no_grad():
                expected = oracle(examples)
            found = network(wave[None], torch.tensor([len(wave)]))["embedding"][0]
            torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2 * float(expected.abs().mean()))

    def test_patches_follow_each_other_and_depend_on_the_clip_alone(self, network, waves):
        lengths = torch.tensor([len(wave) for wave in waves])
        together = network(pad_sequence(waves, batch_first=True, padding_value=0.7), lengths)["embedding"]
        for wave, found in zip(waves, together, strict=True):
            assert found.shape == (max((1 + (len(wave) - 400) // 160) // 96, 1), 128) and found.min() < 0
            torch.testing.assert_close(network(wave[None], torch.tensor([len(wave)]))["embedding"][0], found, rtol=0, atol=0)
        output = network.outputs["embedding"]
        assert (output.rate, output.first) == (1 / 0.96, 0.4875)

    def test_another_checkpoint_is_refused(self, tmp_path, cache):
        folder = packing.written(tmp_path / "vggish", vggish__pth={"features.0.weight": torch.zeros(64, 1, 3, 3)})
        with pytest.raises(ArtifactError, match=r"vggish.zip does not hold the weights of this kind of network: .*Missing key"):
            vggish.load([packing.packed(folder)])
