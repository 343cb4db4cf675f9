"""Codebooks, sequences and vocabularies, and the two stages that make them."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.cluster.vq import kmeans2

from agrepa.artifacts.features import Feature, index, write_shard
from agrepa.artifacts.files import save_tensors, write_table
from agrepa.corpora.manifest import COLUMNS
from agrepa.errors import ArtifactError
from agrepa.params.stages import CodebookSettings, Settings, TokenizeSettings
from agrepa.tokens import codebook, sequence, tokenize
from agrepa.tokens.codebook import Codebook, by_stream, fit


def blobs(rng, centres=8, each=60, width=5):
    middles = 10 * rng.standard_normal((centres, width))
    return np.concatenate([m + 0.1 * rng.standard_normal((each, width)) for m in middles]).astype(np.float32)


def inertia(book, frames):
    standard = (frames - book.mean) / book.scale
    return float(((standard - book.centres[book.encode(frames)]) ** 2).sum())


def test_codebook_is_deterministic_and_as_tight_as_scipys_own_best():
    rng = np.random.default_rng(0)
    frames = blobs(rng)
    book = min((fit("speech", frames, 8, 25, seed) for seed in range(5)), key=lambda b: inertia(b, frames))
    standard = ((frames - book.mean) / book.scale).astype(np.float64)
    oracle = min(
        ((standard - c[label]) ** 2).sum() for c, label in (kmeans2(standard, 8, iter=25, minit="++", seed=s) for s in range(5))
    )
    assert inertia(book, frames) == pytest.approx(oracle, rel=0.01)
    again = fit("speech", frames, 8, 25, 0)
    assert np.array_equal(again.centres, fit("speech", frames, 8, 25, 0).centres)


def test_every_code_is_the_nearest_centre():
    rng = np.random.default_rng(1)
    frames = rng.standard_normal((50, 4)).astype(np.float32)
    book = fit("speech", frames, 7, 10, 0)
    standard = (frames - book.mean) / book.scale
    nearest = ((standard[:, None] - book.centres) ** 2).sum(-1).argmin(1)
    assert np.array_equal(book.encode(frames), nearest)


def test_codebook_survives_the_disk(tmp_path):
    book = fit("speech", np.random.default_rng(2).standard_normal((40, 3)).astype(np.float32), 5, 5, 0)
    book.save(tmp_path / "book.safetensors")
    loaded = Codebook.load(tmp_path / "book.safetensors")
    assert loaded.stream == "speech"
    assert all(np.array_equal(getattr(book, k), getattr(loaded, k)) for k in ("mean", "scale", "centres"))


def test_codebooks_are_told_apart_by_their_content(tmp_path):
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path, stream in zip(paths, ("speech", "audio"), strict=True):
        fit(stream, np.random.default_rng(2).standard_normal((40, 3)).astype(np.float32), 5, 5, 0).save(path)
    assert {name: book.stream for name, book in by_stream(paths, ["audio", "speech"]).items()} == {
        "audio": "audio",
        "speech": "speech",
    }
    assert list(by_stream(paths, ["audio"])) == ["audio"]
    with pytest.raises(ArtifactError, match="no codebook of stream second among those given, which are of speech, audio"):
        by_stream(paths, ["speech", "second"])
    with pytest.raises(ArtifactError, match=r"a\.safetensors: a second codebook of stream 'speech'"):
        by_stream([*paths, paths[0]], ["speech"])
    save_tensors(paths[0], {"mean": torch.zeros(3)})
    with pytest.raises(ArtifactError, match=r"a\.safetensors is not a codebook"):
        by_stream(paths, ["speech"])


def test_too_few_distinct_frames_are_refused():
    with pytest.raises(ArtifactError, match=r"codebook of 8 .* has 2: lower vocabulary"):
        fit("speech", np.array([[0.0], [1.0]] * 20, dtype=np.float32), 8, 5, 0)


def test_interleaving_is_equation_15_and_inverts():
    streams = np.array([[1, 10], [2, 20], [3, 30]])
    assert sequence.interleave(streams).tolist() == [1, 10, 2, 20, 3, 30]
    assert np.array_equal(sequence.separate(sequence.interleave(streams), 2), streams)


def test_the_second_stream_is_read_at_the_centre_of_each_primary_token():
    # 80 ms codes under 20 ms tokens: four tokens a code.
    assert sequence.at_rate(np.array([7, 8, 9]), 12.5, 12, 50.0).tolist() == [7] * 4 + [8] * 4 + [9] * 4
    # 160 ms codes under 80 ms tokens, one token longer than the codes reach.
    assert sequence.at_rate(np.array([1, 2]), 6.25, 5, 12.5).tolist() == [1, 1, 2, 2, 2]


def test_vocabularies_keep_the_domains_apart(demo):
    tokens = demo.tokens
    assert sequence.vocabularies(tokens) == [256, 128]
    assert sequence.vocabularies(tokens.model_copy(update={"config": "A"})) == [256]
    assert sequence.primary_ids(np.array([0, 5]), "speech", tokens).tolist() == [0, 5]
    assert sequence.primary_ids(np.array([0, 5]), "audio", tokens).tolist() == [128, 133]
    assert sequence.PAD not in range(256)


@pytest.mark.parametrize(("ids", "expected"), [([], []), ([0], [0]), ([0, 0, 1, 1, 0], [0, 1, 0]), ([4, 4, 4], [4])])
def test_repeats_become_one_unit(ids, expected):
    assert sequence.without_repeats(np.array(ids, dtype=int)).tolist() == expected


class TestStages:
    """The encoders are called near and far: a stage knows them by the names in the params alone."""

    CLIPS = {"talk_1": "speech", "bang_1": "audio", "talk_2": "speech", "bang_2": "audio"}

    @pytest.fixture
    def tokens(self, demo):
        small = {"vocabulary": 3, "iterations": 5, "max_frames": 12}
        streams = {
            "speech": {"encoder": "near", "output": "deep", "domains": ["speech"]},
            "audio": {"encoder": "far", "output": "low", "domains": ["audio"]},
            "second": {"encoder": "far", "output": "high", "domains": ["speech", "audio"]},
        }
        changed = {name: getattr(demo.tokens, name).model_copy(update=small | streams[name]) for name in streams}
        return demo.tokens.model_copy(update=changed)

    @pytest.fixture
    def features(self):
        """(encoder, output) -> clip -> (frames ``[T, 2]``, rate)."""
        rng = np.random.default_rng(3)

        def some(domains, frames, rate):
            return {
                c: (torch.from_numpy(rng.standard_normal((frames, 2))).half(), rate)
                for c in self.CLIPS
                if self.CLIPS[c] in domains
            }

        return {
            ("near", "deep"): some(["speech"], 8, 50.0),
            ("far", "low"): some(["audio"], 8, 12.5),
            ("far", "high"): some(["speech", "audio"], 4, 6.25),
        }

    @pytest.fixture
    def inputs(self, features, tmp_path):
        """Manifest and one index an encoder."""
        rows = pd.DataFrame({column: [kind()] * len(self.CLIPS) for column, kind in COLUMNS.items()})
        rows["id"], rows["domain"], rows["split"] = list(self.CLIPS), list(self.CLIPS.values()), ["train"] * 3 + ["test"]
        write_table(tmp_path / "manifest.parquet", rows)
        for encoder in ("near", "far"):
            stored = [
                (clip, output, *value) for (e, output), of in features.items() if e == encoder for clip, value in of.items()
            ]
            write_shard(tmp_path / f"{encoder}.safetensors", encoder, stored)
            index(Settings(), store="mel", shards=[tmp_path / f"{encoder}.safetensors"], out=tmp_path / f"{encoder}.parquet")
        return tmp_path

    def books(self, tokens, inputs):
        paths = []
        for name in ("second", "speech", "audio"):
            stream = getattr(tokens, name)
            paths.append(inputs / f"{name}.safetensors")
            index_ = inputs / f"{stream.encoder}.parquet"
            p = CodebookSettings(codebook=stream, seed=0)
            codebook.run(p, stream=name, manifest=inputs / "manifest.parquet", features=index_, out=paths[-1])
        return paths

    def test_codebook_is_fitted_on_the_training_split_of_its_domains(self, tokens, features, inputs):
        self.books(tokens, inputs)
        frames = features["near", "deep"]["talk_1"][0], features["near", "deep"]["talk_2"][0]
        everything = torch.cat(frames).float().numpy()[np.linspace(0, 15, 12).round().astype(int)]
        expected = fit("speech", everything, 3, 5, 0)
        assert np.array_equal(Codebook.load(inputs / "speech.safetensors").centres, expected.centres)
        frames = features["far", "low"]["bang_1"][0].float().numpy()  # bang_2 is for testing
        assert np.array_equal(Codebook.load(inputs / "audio.safetensors").mean, frames.mean(0))

    @pytest.mark.parametrize("config", ["A", "B"])
    def test_tokens_of_both_domains(self, tokens, features, inputs, config):
        paths = self.books(tokens, inputs)
        p = TokenizeSettings(tokens=tokens.model_copy(update={"config": config}), shards=2)
        books = by_stream(paths, ["speech", "audio", "second"])
        for k, clips in enumerate((["talk_1", "talk_2"], ["bang_1", "bang_2"])):
            indexes = [inputs / "near.parquet", inputs / "far.parquet"]
            out = inputs / f"tokens_{k}.safetensors"
            tokenize.run(p, shard=str(k), manifest=inputs / "manifest.parquet", codebooks=paths, features=indexes, out=out)
            found = Feature.of_shard(out, "tokens")
            assert set(found.frames) == set(clips)
            for clip in clips:
                key, domain = (("near", "deep"), "speech") if k == 0 else (("far", "low"), "audio")
                frames, rate = features[key][clip]
                ids = found[clip].numpy()
                assert ids.dtype == np.int32 and ids.shape == (8, 1 if config == "A" else 2) and found.rate[clip] == rate
                assert np.array_equal(ids[:, 0], books[domain].encode(frames.numpy()) + (3 if domain == "audio" else 0))
                if config == "B":
                    codes = books["second"].encode(features["far", "high"][clip][0].numpy())
                    assert np.array_equal(ids[:, 1], sequence.at_rate(codes, 6.25, 8, rate))

    def test_config_a_needs_no_second_stream(self, tokens, inputs):
        paths = self.books(tokens, inputs)
        p = TokenizeSettings(tokens=tokens.model_copy(update={"config": "A"}), shards=1)
        files = {"manifest": inputs / "manifest.parquet", "features": [inputs / "near.parquet", inputs / "far.parquet"]}
        tokenize.run(p, shard="0", codebooks=paths[1:], out=inputs / "tokens.safetensors", **files)
        with pytest.raises(ArtifactError, match="no codebook of stream second"):
            p = TokenizeSettings(tokens=tokens, shards=1)
            tokenize.run(p, shard="0", codebooks=paths[1:], out=inputs / "tokens.safetensors", **files)
