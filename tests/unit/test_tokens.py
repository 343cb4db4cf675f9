"""Codebooks, sequences and vocabularies."""

import numpy as np
import pytest
from scipy.cluster.vq import kmeans2

from agrepa.errors import ArtifactError
from agrepa.tokens import sequence
from agrepa.tokens.codebook import Codebook, fit


def blobs(rng, centres=8, each=60, width=5):
    middles = 10 * rng.standard_normal((centres, width))
    return np.concatenate([m + 0.1 * rng.standard_normal((each, width)) for m in middles]).astype(np.float32)


def inertia(book, frames):
    standard = (frames - book.mean) / book.scale
    return float(((standard - book.centres[book.encode(frames)]) ** 2).sum())


def test_codebook_is_deterministic_and_as_tight_as_scipys_own_best():
    rng = np.random.default_rng(0)
    frames = blobs(rng)
    book = min((fit(frames, 8, 25, seed) for seed in range(5)), key=lambda b: inertia(b, frames))
    standard = ((frames - book.mean) / book.scale).astype(np.float64)
    oracle = min(
        ((standard - c[label]) ** 2).sum() for c, label in (kmeans2(standard, 8, iter=25, minit="++", seed=s) for s in range(5))
    )
    assert inertia(book, frames) == pytest.approx(oracle, rel=0.01)
    again = fit(frames, 8, 25, 0)
    assert np.array_equal(again.centres, fit(frames, 8, 25, 0).centres)


def test_every_code_is_the_nearest_centre():
    rng = np.random.default_rng(1)
    frames = rng.standard_normal((50, 4)).astype(np.float32)
    book = fit(frames, 7, 10, 0)
    standard = (frames - book.mean) / book.scale
    nearest = ((standard[:, None] - book.centres) ** 2).sum(-1).argmin(1)
    assert np.array_equal(book.encode(frames), nearest)


def test_codebook_survives_the_disk(tmp_path):
    book = fit(np.random.default_rng(2).standard_normal((40, 3)).astype(np.float32), 5, 5, 0)
    book.save(tmp_path / "book.safetensors")
    loaded = Codebook.load(tmp_path / "book.safetensors")
    assert all(np.array_equal(getattr(book, k), getattr(loaded, k)) for k in ("mean", "scale", "centres"))


def test_too_few_distinct_frames_are_refused():
    with pytest.raises(ArtifactError, match=r"codebook of 8 .* has 2: lower vocabulary"):
        fit(np.array([[0.0], [1.0]] * 20, dtype=np.float32), 8, 5, 0)


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
