"""Encoders that give tokens themselves: S3 on tiny random weights, and the streams that take codes as they are."""

from __future__ import annotations

import shutil

import numpy as np
import packing
import pandas as pd
import pytest
import tiny_networks
import torch
from test_params import edited
from torch.nn.utils.rnn import pad_sequence

from agrepa import params
from agrepa.artifacts.features import index, write_shard
from agrepa.artifacts.files import write_table
from agrepa.audio import files
from agrepa.corpora.manifest import COLUMNS
from agrepa.encoders import extract, s3
from agrepa.errors import ArtifactError, AudioError, ParamsError
from agrepa.params.base import PACKAGE
from agrepa.params.encoders import Encoder
from agrepa.params.stages import CodebookSettings, Settings
from agrepa.params.tokens import Stream
from agrepa.tokens import codebook
from agrepa.tokens.codebook import Codebook, GivenCodes
from agrepa.tokens.tokenize import Tokenizer


@pytest.fixture(scope="module")
def waves(recordings):
    found = [torch.from_numpy(files.resample(*recordings[clip], 16000)) for clip in recordings]
    return [wave[: len(wave) // 160 * 160 + 7] for wave in found]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path / "cache"))


def tiny(version):
    pytest.importorskip("s3tokenizer", reason="needs the extra paper: s3tokenizer, with onnx and einops")
    return tiny_networks.s3(version)


@pytest.mark.parametrize("version", tiny_networks.S3_CLASSES)
def test_codes_are_the_librarys_and_depend_on_the_clip_alone(tmp_path, waves, version):
    published = tiny(version)
    folder = packing.written(tmp_path / "s3", **{f"speech_tokenizer_{version}__pt": published.state_dict()})
    state = torch.get_rng_state()
    network = s3.load([packing.packed(folder)])
    assert torch.equal(torch.get_rng_state(), state)
    from s3tokenizer import log_mel_spectrogram, padding

    lengths = torch.tensor([len(wave) for wave in waves])
    (name,), (output,) = network.outputs, network.outputs.values()
    together = network(pad_sequence(waves, batch_first=True, padding_value=0.7), lengths)[name]
    expected, counts = published.quantize(*padding([log_mel_spectrogram(wave) for wave in waves]))
    assert (name, output.rate, output.dim, output.codes) == (version, 16000 / s3.OUTPUTS[version], 1, s3.CODES[version])
    alike = 0
    for i, wave in enumerate(waves):
        alone = network(wave[None], lengths[i : i + 1])[name][0]
        assert torch.equal(alone, together[i]) and alone.dtype == torch.int32
        frames = -(-(len(wave) // 160) * 160 // s3.OUTPUTS[version])
        assert alone.shape == (int(counts[i]), 1) == (frames, 1)
        assert alone.min() >= 0 and alone.max() < output.codes and len(alone.unique()) > 1
        alike += (alone[:, 0] == expected[i, : counts[i]]).float().mean().item() / len(waves)
    assert alike > 0.99  # in the library's padded batch a code on the edge of two may fall to either side


def test_the_published_file_and_the_one_made_of_it_give_the_same_codes(tmp_path, waves):
    published = tiny("v1")
    made = packing.written(tmp_path / "made", speech_tokenizer_v1__pt=published.state_dict())
    onnx = packing.written(tmp_path / "onnx", speech_tokenizer_v1__onnx=tiny_networks.as_onnx(published))
    wave = waves[0]
    found = [s3.load([packing.packed(folder)])(wave[None], torch.tensor([len(wave)]))["v1"][0] for folder in (made, onnx)]
    assert torch.equal(*found)


def test_what_is_not_the_tokenizer_that_its_name_says_is_refused(tmp_path, monkeypatch):
    state = tiny("v1").state_dict()

    def load(name, weights, file="speech_tokenizer_v1__pt"):
        return s3.load([packing.packed(packing.written(tmp_path / name, **{file: weights}))])

    empty = state | {"quantizer._codebook.embed": torch.zeros(4096, 128)}
    with pytest.raises(ArtifactError, match=r"empty.zip: its codebook is all zeros, so that every token would be 0"):
        load("empty", empty)
    with pytest.raises(ArtifactError, match=r"another.zip does not hold the weights of this kind of network: .*Missing key"):
        load("another", state, "speech_tokenizer_v2__pt")
    with pytest.raises(ArtifactError, match=r"nothing.zip holds no speech tokenizer: it lacks encoder.conv1.weight"):
        load("nothing", {})
    with pytest.raises(ArtifactError, match=r"unnamed.zip has no speech_tokenizer_v1.onnx or speech_tokenizer_v1.pt or"):
        load("unnamed", state, "tokenizer__pt")
    network = load("whole", state)
    monkeypatch.setattr(s3, "AT_25_HZ", packing.archive(tmp_path / "whole").files["speech_tokenizer_v1.pt"])
    with pytest.raises(ArtifactError, match=r"speech_tokenizer_v1.pt is the tokenizer of 25 Hz, which is not supported"):
        load("whole", state)
    with pytest.raises(AudioError, match="480001 samples is longer than the 480000"):
        network(torch.zeros(1, 480001), torch.tensor([480001]))


def test_codes_are_kept_as_whole_numbers(tmp_path, waves):
    """Half precision has no whole numbers above 2048 but every other one."""
    network = s3.load([packing.packed(packing.written(tmp_path / "s3", speech_tokenizer_v1__pt=tiny("v1").state_dict()))])
    settings = Encoder(kind="s3", label="S3", archives=["s3"], domains=["speech"], frames=["v1"], lead_seconds=0.1)
    stored = list(extract.encode_clips(network, {"clip": 1.0}, lambda clip: waves[0].numpy(), 16000, ["v1"], settings))
    led = network(torch.nn.functional.pad(waves[0], (1600, 0))[None], torch.tensor([len(waves[0]) + 1600]))["v1"][0]
    (kept,) = stored
    assert kept.tensor.dtype == torch.int32 and torch.equal(kept.tensor, led[5:]) and (kept.rate, kept.first) == (50.0, 0.0)
    assert kept.tensor.max() > 2048


def stream(**changes):
    settings = {"encoder": "ear", "output": "codes", "domains": ["speech"], "vocabulary": 9, "codebook": "given"}
    return Stream.model_validate(settings | changes)


@pytest.fixture
def features(tmp_path):
    """Manifest and index of two clips of codes 0 … 7."""
    rows = pd.DataFrame({column: [kind()] * 2 for column, kind in COLUMNS.items()})
    rows["id"], rows["domain"], rows["split"] = ["a", "b"], "speech", "train"
    write_table(tmp_path / "manifest.parquet", rows)
    codes = {"a": torch.tensor([[0], [7], [7], [0]]), "b": torch.tensor([[3], [3], [0], [7]])}
    write_shard(tmp_path / "ear.safetensors", "ear", [(clip, "codes", ids.int(), 50.0, 0.0) for clip, ids in codes.items()])
    index(Settings(), store="ear", shards=[tmp_path / "ear.safetensors"], out=tmp_path / "ear.parquet")
    return {"manifest": tmp_path / "manifest.parquet", "features": tmp_path / "ear.parquet"}


def test_a_stream_takes_given_codes_as_they_are(tmp_path, features, demo, capsys):
    out = tmp_path / "speech.safetensors"
    codebook.run(CodebookSettings(codebook=stream(), seed=0), stream="speech", codebooks=[], out=out, **features)
    assert capsys.readouterr().out == ("speech: 8 codes as the encoder gives them, perplexity 3 of 9, 33.3% of the codes used\n")
    book = Codebook.load(out)
    assert isinstance(book, GivenCodes) and book.stream == "speech"
    tokens = demo.tokens.model_copy(update={"audio": stream(domains=["audio"])})
    ids = Tokenizer(tokens, {"audio": book}).primary(np.array([[0], [8]], np.int32), "audio")
    assert ids.tolist() == [2048, 2056]


def test_codes_outside_the_vocabulary_and_frames_that_are_none_are_refused(tmp_path, features):
    small = CodebookSettings(codebook=stream(vocabulary=7), seed=0)
    with pytest.raises(ArtifactError, match="stream speech has 7 codes and got 0 to 7: raise vocabulary"):
        codebook.run(small, stream="speech", codebooks=[], out=tmp_path / "speech.safetensors", **features)
    with pytest.raises(ArtifactError, match=r"stream speech is given codes and got float16 of shape \(3, 4\): name an output"):
        GivenCodes.of("speech", 9).encode(np.zeros((3, 4), np.float16))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"iterations": 3}, "codes that are given are not fitted: remove iterations"),
        ({"residual_of": "speech"}, "codes that are given are not fitted: remove residual_of"),
        ({"codebook": "vq", "iterations": 3}, "a codebook that is fitted needs max_frames: add it"),
        ({"codebook": "kmeans"}, "a codebook that is fitted needs iterations and max_frames: add it"),
    ],
)
def test_a_stream_is_fitted_or_given(changes, says):
    with pytest.raises(ValueError, match=says):
        stream(**changes)


def test_a_stream_of_kmeans_is_described_as_before_there_were_others(demo):
    """What a job reads is its params' text: an unchanged stream re-runs nothing."""
    keys = ["encoder", "output", "domains", "vocabulary", "iterations", "max_frames", "residual_of"]
    assert list(demo.tokens.second_speech.model_dump(mode="json")) == keys


class TestParams:
    """An experiment whose speech is coded by an encoder that gives codes."""

    @pytest.fixture
    def package(self, tmp_path):
        package = shutil.copytree(PACKAGE, tmp_path / "agrepa", ignore=shutil.ignore_patterns("__pycache__"))
        states = "SAMPLE_RATE = 16000\nOUTPUTS = {'codes': 320, 'frames': 320}\nCODES = {'codes': 9}\ndef load(archives): ...\n"
        (package / "encoders" / "ear.py").write_text(states)
        return package

    @pytest.fixture
    def put(self):
        ear = {"kind": "ear", "label": "Ear", "archives": ["yamnet"], "domains": ["speech"], "frames": ["codes", "frames"]}
        return {
            "encoders.ear": ear,
            "tokens.config": "A",
            "tokens.speech": {"encoder": "ear", "output": "codes", "domains": ["speech"], "vocabulary": 9, "codebook": "given"},
            "tokens.second_speech.residual_of": None,
            "model.tables": "random",
        }

    def test_it_is_read(self, tmp_path, package, put):
        loaded = params.load(edited(tmp_path, put), package)
        assert (loaded.tokens.speech.codebook, loaded.tokens.speech.vocabulary) == ("given", 9)

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"model.tables": "centres"}, "model.tables: takes the centres of the codebooks, and tokens.speech, whose codes are "
             "given, has none: use random (found 'centres')"),
            ({"tokens.speech.vocabulary": 8}, "tokens.speech.vocabulary: ear has 9 codes: make it that (found 8)"),
            ({"tokens.speech.output": "frames"}, "tokens.speech.codebook: frames of ear are no codes: use kmeans or vq "
             "(found 'given')"),
            ({"tokens.second_speech": {"encoder": "ear", "output": "codes", "domains": ["speech"], "vocabulary": 9,
              "iterations": 1, "max_frames": 9}}, "tokens.second_speech.codebook: codes of ear are codes already, to which "
             "nothing can be fitted: use given (found 'kmeans')"),
            ({"encoders.ear.means": ["codes"]}, "encoders.ear.means.0: is codes, which have no mean: keep it in frames alone "
             "(found 'codes')"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_refused(self, tmp_path, package, put, changes, says):
        for key, value in changes.items():
            holder, _, last = key.rpartition(".")
            if holder in put:
                put[holder] = put[holder] | {last: value}
            else:
                put[key] = value
        with pytest.raises(ParamsError) as raised:
            params.load(edited(tmp_path, put), package)
        assert str(raised.value) == f"{tmp_path}/demo.yaml: {says}"

    def test_a_library_that_is_not_installed_is_named(self, tmp_path, package, put):
        with (package / "encoders" / "ear.py").open("a") as file:
            file.write("LIBRARY = 'no_such_library'\n")
        with pytest.raises(ParamsError) as raised:
            params.load(edited(tmp_path, put), package)
        assert str(raised.value) == (
            f"{tmp_path}/demo.yaml: encoders.ear.kind: needs the library no_such_library, which is not installed: "
            "pip install 'agrepa[paper]', or choose another kind (found 'ear')"
        )

    def test_an_archive_of_a_kind_that_is_not_read_is_named(self, tmp_path, package, put):
        with (package / "encoders" / "ear.py").open("a") as file:
            file.write("ARCHIVES = ('hub', 'folder')\n")
        with pytest.raises(ParamsError) as raised:
            params.load(edited(tmp_path, put), package)
        assert str(raised.value) == (
            f"{tmp_path}/demo.yaml: encoders.ear.archives.0: a network is read from a hub or folder and this archive is a wheel "
            "(found 'yamnet')"
        )
