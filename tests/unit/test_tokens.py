"""Codebooks, sequences and vocabularies, and the two stages that make them."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.cluster.vq import kmeans2

from agrepa.artifacts.features import Feature, index, write_shard
from agrepa.artifacts.files import save_tensors, write_table
from agrepa.corpora.manifest import COLUMNS
from agrepa.domains import DOMAINS
from agrepa.errors import ArtifactError
from agrepa.params.stages import CodebookSettings, Settings, TokenizeSettings
from agrepa.tokens import codebook, sequence, tokenize, vector_quantiser
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
    assert not np.array_equal(again.centres, fit("speech", frames, 8, 25, 1).centres)


def test_a_start_on_a_part_of_the_frames_is_as_good(monkeypatch):
    frames = blobs(np.random.default_rng(0))
    whole = fit("speech", frames, 8, 25, 0)
    monkeypatch.setattr(codebook, "START_FRAMES", 100)
    assert inertia(fit("speech", frames, 8, 25, 0), frames) == pytest.approx(inertia(whole, frames), rel=0.01)


def test_what_a_codebook_leaves_is_coded_in_its_units_and_adds_to_its_centres():
    frames = 5 + 3 * np.random.default_rng(4).standard_normal((400, 3)).astype(np.float32)
    first = fit("speech", frames, 8, 25, 0)
    left = first.residual(frames)
    standard = (frames - first.mean) / first.scale
    assert np.allclose(left, standard - first.centres[first.encode(frames)], atol=1e-6)
    second = fit("second_speech", left, 8, 25, 0, standardise=False)
    assert (second.mean == 0).all() and (second.scale == 1).all()
    both = first.centres[first.encode(frames)] + second.centres[second.encode(left)]
    assert np.square(standard - both).mean() < 0.5 * np.square(left).mean()
    assert first.error(frames) == pytest.approx(np.square(left).mean(), rel=1e-4)
    assert second.error(left) == pytest.approx(np.square(standard - both).mean() / left.var(0).mean(), rel=1e-4)


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
    with pytest.raises(ArtifactError, match="no codebook of stream second_audio among those given, which are of speech, audio"):
        by_stream(paths, ["speech", "second_audio"])
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
    def halves(codes, rate, length, wanted_rate):
        return sequence.at_rate(np.array(codes), rate, 0.5 / rate, length, wanted_rate, 0.5 / wanted_rate).tolist()

    # 80 ms codes under 20 ms tokens: four tokens a code.
    assert halves([7, 8, 9], 12.5, 12, 50.0) == [7] * 4 + [8] * 4 + [9] * 4
    # 160 ms codes under 80 ms tokens, one token longer than the codes reach.
    assert halves([1, 2], 6.25, 5, 12.5) == [1, 1, 2, 2, 2]
    # Tokens at 0, 20, 40 … ms and codes at 60, 140 and 220: the nearest, the later of two.
    assert sequence.at_rate(np.array([7, 8, 9]), 12.5, 0.06, 12, 50.0, 0.0).tolist() == [7] * 5 + [8] * 4 + [9] * 3
    # Streams of the same frames are taken as they are, however long.
    codes = np.random.default_rng(0).integers(0, 9, 1500)
    assert np.array_equal(sequence.at_rate(codes, 50.0, 0.0, 1500, 50.0, 0.0), codes)
    yamnets = 16000 / 7680
    assert np.array_equal(sequence.at_rate(codes, yamnets, 0.4875, 1500, yamnets, 0.4875), codes)


def test_vocabularies_keep_the_domains_apart(demo):
    tokens, alone = demo.tokens, demo.tokens.model_copy(update={"config": "A"})
    assert sequence.table_streams(tokens) == [["speech", "audio"], ["second_speech", "second_audio"]]
    assert sequence.table_streams(alone) == [["speech", "audio"]]
    assert sequence.streams(tokens) == ["speech", "audio", "second_speech", "second_audio"]
    assert (sequence.vocabularies(tokens), sequence.vocabularies(alone)) == ([2176, 2176], [2176])
    for prefix in ("", "second_"):
        assert sequence.ids(np.array([0, 5]), f"{prefix}speech", tokens).tolist() == [0, 5]
        assert sequence.ids(np.array([0, 5]), f"{prefix}audio", tokens).tolist() == [2048, 2053]
    assert sequence.PAD not in range(2176)


def test_bits_are_counted_by_rate_and_use(demo):
    even = np.arange(8).repeat(3)
    assert sequence.bits_per_second(even, 50.0, 8) == pytest.approx((150.0, 150.0))
    assert sequence.bits_per_second(even % 2, 50.0, 8) == pytest.approx((150.0, 50.0))
    assert sequence.bits_per_second(np.zeros(9, int), 50.0, 8) == (150.0, 0.0)
    assert sequence.bits_per_second(np.zeros(0, int), 50.0, 8) == (150.0, 0.0)
    speech = {"speech": (np.arange(512), 50.0), "second_speech": (np.arange(256), 50.0)}
    assert tokenize.bits("speech", speech, demo.tokens) == (
        "speech: 850 bits per second of 1100 (entropy of single codes; speech 50/s x 2048 codes, second_speech 50/s x 2048 codes)"
    )


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
            "second_speech": {
                "encoder": "near",
                "output": "deep",
                "domains": ["speech"],
                "residual_of": "speech",
                "vocabulary": 4,
            },
            "second_audio": {"encoder": "far", "output": "high", "domains": ["audio"]},
        }
        changed = {name: getattr(demo.tokens, name).model_copy(update=small | streams[name]) for name in streams}
        return demo.tokens.model_copy(update=changed)

    @pytest.fixture
    def features(self):
        """(encoder, output) -> clip -> (frames ``[T, 2]``, rate, first)."""
        rng = np.random.default_rng(3)

        def some(domain, frames, rate, first):
            return {
                clip: (torch.from_numpy(rng.standard_normal((frames, 2))).half(), rate, first)
                for clip, of in self.CLIPS.items()
                if of == domain
            }

        return {
            ("near", "deep"): some("speech", 8, 50.0, 0.0),
            ("far", "low"): some("audio", 8, 12.5, 0.058),
            ("far", "high"): some("audio", 4, 6.25, 0.11),
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

    def fitted(self, tokens, inputs, name, *codebooks):
        """The codebook file of a stream."""
        stream, out = getattr(tokens, name), inputs / f"{name}.safetensors"
        files = {"manifest": inputs / "manifest.parquet", "features": inputs / f"{stream.encoder}.parquet"}
        codebook.run(CodebookSettings(codebook=stream, seed=0), stream=name, codebooks=list(codebooks), out=out, **files)
        return out

    def books(self, tokens, inputs):
        speech = self.fitted(tokens, inputs, "speech")
        second = self.fitted(tokens, inputs, "second_speech", speech)
        return [second, speech, *(self.fitted(tokens, inputs, name) for name in ("second_audio", "audio"))]

    def test_codebook_is_fitted_on_the_training_split_of_its_domains(self, tokens, features, inputs):
        self.books(tokens, inputs)
        frames = features["near", "deep"]["talk_1"][0], features["near", "deep"]["talk_2"][0]
        everything = torch.cat(frames).float().numpy()[np.linspace(0, 15, 12).round().astype(int)]
        expected = fit("speech", everything, 3, 5, 0)
        assert np.array_equal(Codebook.load(inputs / "speech.safetensors").centres, expected.centres)
        left = fit("second_speech", expected.residual(everything), 4, 5, 0, standardise=False)
        assert np.array_equal(Codebook.load(inputs / "second_speech.safetensors").centres, left.centres)
        frames = features["far", "low"]["bang_1"][0].float().numpy()  # bang_2 is for testing
        assert np.array_equal(Codebook.load(inputs / "audio.safetensors").mean, frames.mean(0))

    def test_a_residual_needs_the_codebook_that_leaves_it(self, tokens, inputs):
        with pytest.raises(ArtifactError, match="no codebook of stream speech among those given, which are of none"):
            self.fitted(tokens, inputs, "second_speech")

    @pytest.mark.parametrize("config", ["A", "B"])
    def test_tokens_of_both_domains(self, tokens, features, inputs, config, capsys):
        paths = self.books(tokens, inputs)
        p = TokenizeSettings(tokens=tokens.model_copy(update={"config": config}), domains=DOMAINS, shards=2)
        books = by_stream(paths, ["speech", "audio", "second_speech", "second_audio"])
        for k, clips in enumerate((["talk_1", "talk_2"], ["bang_1", "bang_2"])):
            indexes = [inputs / "near.parquet", inputs / "far.parquet"]
            out = inputs / f"tokens_{k}.safetensors"
            capsys.readouterr()
            tokenize.run(p, shard=str(k), manifest=inputs / "manifest.parquet", codebooks=paths, features=indexes, out=out)
            said = capsys.readouterr().out.splitlines()
            assert [line.endswith("no clips)") for line in said[-2:]] == [k == 1, k == 0]
            found = Feature.of_shard(out, "tokens")
            assert set(found.frames) == set(clips)
            for clip in clips:
                key, domain = (("near", "deep"), "speech") if k == 0 else (("far", "low"), "audio")
                frames, rate, first = features[key][clip]
                ids = found[clip].numpy()
                assert ids.dtype == np.int32 and ids.shape == (8, 1 if config == "A" else 2)
                assert (found.rate[clip], found.first[clip]) == (rate, first)
                assert np.array_equal(ids[:, 0], books[domain].encode(frames.numpy()) + (3 if domain == "audio" else 0))
                if config == "A":
                    continue
                if domain == "speech":
                    assert np.array_equal(ids[:, 1], books["second_speech"].encode(books["speech"].residual(frames.numpy())))
                else:  # codes at 110, 270, … ms under tokens at 58, 138, 218, …
                    codes = books["second_audio"].encode(features["far", "high"][clip][0].numpy())
                    assert np.array_equal(ids[:, 1], 4 + codes[[0, 0, 1, 1, 2, 2, 3, 3]])

    def test_config_a_needs_no_second_stream(self, tokens, inputs):
        paths = [path for path in self.books(tokens, inputs) if not path.stem.startswith("second_")]
        p = TokenizeSettings(tokens=tokens.model_copy(update={"config": "A"}), domains=DOMAINS, shards=1)
        files = {"manifest": inputs / "manifest.parquet", "features": [inputs / "near.parquet", inputs / "far.parquet"]}
        tokenize.run(p, shard="0", codebooks=paths, out=inputs / "tokens.safetensors", **files)
        with pytest.raises(ArtifactError, match="no codebook of stream second_speech, second_audio among those given"):
            p = TokenizeSettings(tokens=tokens, domains=DOMAINS, shards=1)
            tokenize.run(p, shard="0", codebooks=paths, out=inputs / "tokens.safetensors", **files)


class TestVectorQuantiser:
    @pytest.fixture(scope="class")
    def frames(self):
        return blobs(np.random.default_rng(0), each=200)

    def test_centres_are_the_means_of_their_frames_and_the_same_again(self, frames):
        book = fit("speech", frames, 24, 40, 3, kind="vq")
        codes, standard = book.encode(frames), (frames - book.mean) / book.scale
        means = np.stack([standard[codes == code].mean(0) for code in range(24)])
        assert np.abs(book.centres - means).max() < 0.02
        assert book.error(frames) < 1.5 * fit("speech", frames, 24, 25, 0).error(frames)
        assert np.array_equal(book.centres, fit("speech", frames, 24, 40, 3, kind="vq").centres)
        assert not np.array_equal(book.centres, fit("speech", frames, 24, 40, 4, kind="vq").centres)

    def test_dead_codes_start_again(self, frames, monkeypatch):
        """Without that, centres that begin in one blob leave others without any."""
        monkeypatch.setattr(vector_quantiser, "DEAD", 0.0)
        left = [sequence.usage(fit("speech", frames, 64, 40, s, kind="vq").encode(frames), 64) for s in range(3)]
        monkeypatch.undo()
        kept = [sequence.usage(fit("speech", frames, 64, 40, s, kind="vq").encode(frames), 64) for s in range(3)]
        assert all(after[1] >= before[1] for before, after in zip(left, kept, strict=True))
        assert all(perplexity > 48 and share == 1 for perplexity, share in kept)

    def test_it_is_a_codebook_like_any_other(self, frames, tmp_path):
        first = fit("speech", frames, 4, 20, 0, kind="vq")
        left = first.residual(frames)
        second = fit("second_speech", left, 6, 20, 0, standardise=False, kind="vq")
        assert (second.mean == 0).all() and second.error(left) < 0.5
        second.save(tmp_path / "book.safetensors")
        assert np.array_equal(Codebook.load(tmp_path / "book.safetensors").centres, second.centres)
        with pytest.raises(ArtifactError, match=r"codebook of 8 .* has 2: lower vocabulary"):
            fit("speech", np.array([[0.0], [1.0]] * 20, dtype=np.float32), 8, 5, 0, kind="vq")


def test_usage_is_perplexity_and_share():
    assert sequence.usage(np.array([0, 1, 2, 3] * 5), 8) == pytest.approx((4.0, 0.5))
    assert sequence.usage(np.zeros(9, int), 8) == pytest.approx((1.0, 0.125))


def test_the_log_says_how_much_of_a_codebook_is_used():
    assert codebook.used(np.array([0, 1, 2, 3] * 5), 8) == "perplexity 4 of 8, 50.0% of the codes used"
