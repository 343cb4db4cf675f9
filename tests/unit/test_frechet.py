"""FAD: against the reference implementation, a closed form and scipy; its extrapolation; its interval."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import torch
from made_results import settings
from scipy import stats

from agrepa.artifacts.features import Feature, FeatureStore, index, write_shard
from agrepa.artifacts.files import read_json, read_table, write_table
from agrepa.corpora.manifest import COLUMNS
from agrepa.errors import ArtifactError
from agrepa.evaluation.frechet import (
    Evaluated,
    Gaussian,
    fad_infinity,
    frechet_distance,
    half_sampling,
    run,
    score,
    subset_sizes,
)
from agrepa.evaluation.kernel_distance import Reference, kernel_distance
from agrepa.evaluation.statistics import FEWEST_CLUSTERS, Design
from agrepa.params import Experiment
from agrepa.params.evaluation import Frechet
from agrepa.params.stages import FadSettings, Settings

SETTINGS = Frechet(embeddings=["yamnet"], reference_clips=10, subset_sizes=8, bootstrap=20)


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> type:
    """The class of frechet-audio-distance, whose imports of networks it does not need here are given stand-ins."""
    parts = {
        "laion_clap": {},
        "resampy": {},
        "encodec": {"EncodecModel": object},
        "torchlibrosa": {},
        "torchlibrosa.stft": {"Spectrogram": object, "LogmelFilterBank": object},
        "torchlibrosa.augmentation": {"SpecAugmentation": object},
    }
    for name, members in parts.items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    package = pytest.importorskip("frechet_audio_distance", reason="installed by `make test`: frechet-audio-distance --no-deps")
    return package.FrechetAudioDistance


def two_sets(dims: int, frames: int, more: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(frames, dims)) * rng.uniform(0.5, 2, dims) + 0.3, rng.normal(size=(more, dims)) @ rng.normal(
        size=(dims, dims)
    )


def test_equals_the_reference_implementation(oracle: type) -> None:
    one, two = two_sets(24, 200, 300)
    theirs = oracle.calculate_frechet_distance(None, one.mean(0), np.cov(one.T), two.mean(0), np.cov(two.T))
    assert frechet_distance(Gaussian.of(one), Gaussian.of(two)) == pytest.approx(theirs, rel=1e-9)


def test_equals_the_reference_implementation_with_fewer_frames_than_channels(oracle: type) -> None:
    one, two = two_sets(24, 15, 300)
    theirs = oracle.calculate_frechet_distance(None, one.mean(0), np.cov(one.T), two.mean(0), np.cov(two.T))
    # There the square root of the singular product is itself only good to about the root of the machine precision.
    assert frechet_distance(Gaussian.of(one), Gaussian.of(two)) == pytest.approx(theirs, rel=1e-5)


def test_equals_scipy_square_root() -> None:
    one, two = two_sets(12, 100, 90)
    first, second = np.cov(one.T), np.cov(two.T)
    trace = np.trace(scipy.linalg.sqrtm(first @ second)).real
    expected = np.square(one.mean(0) - two.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * trace
    assert frechet_distance(Gaussian.of(one), Gaussian.of(two)) == pytest.approx(expected, rel=1e-9)


def test_closed_form_of_diagonal_covariances() -> None:
    """d^2 = sum (mu_1 - mu_2)^2 + (sigma_1 - sigma_2)^2."""
    rng = np.random.default_rng(1)
    mean_1, mean_2, sigma_1, sigma_2 = rng.uniform(0.1, 2, size=(4, 9))
    distance = frechet_distance(Gaussian(mean_1, np.diag(sigma_1)), Gaussian(mean_2, np.diag(sigma_2)))
    assert distance == pytest.approx(np.square(mean_1 - mean_2).sum() + np.square(sigma_1 - sigma_2).sum(), rel=1e-12)


def test_is_zero_for_equal_sets_symmetric_and_quadratic_in_scale() -> None:
    one, two = (Gaussian.of(frames) for frames in two_sets(12, 100, 8))
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(one, two) == pytest.approx(frechet_distance(two, one))
    bigger = [Gaussian(3 * gaussian.mean, 3 * gaussian.factor) for gaussian in (one, two)]
    assert frechet_distance(*bigger) == pytest.approx(9 * frechet_distance(one, two))


@pytest.mark.parametrize("dims", [4, 40])
def test_subsets_of_clips_have_the_distance_of_their_frames(dims: int) -> None:
    """Once with more frames than channels, once with fewer."""
    rng = np.random.default_rng(2)
    reference = Gaussian.of(rng.normal(size=(100, dims)) + 1)
    clips = [rng.normal(size=(frames, dims)) * 2 for frames in (3, 1, 5, 2, 4)]
    evaluated = Evaluated(clips, reference)
    for chosen in ([0, 1, 2, 3, 4], [4, 1], [2]):
        direct = frechet_distance(Gaussian.of(np.concatenate([clips[i] for i in chosen])), reference)
        assert evaluated.distance(np.array(chosen)) == pytest.approx(direct, rel=1e-6)


def test_sizes_run_from_a_third_to_all_evenly_in_one_over_n() -> None:
    assert subset_sizes(40, 8) == [13, 15, 16, 19, 22, 25, 31, 40]
    assert subset_sizes(3, 8) == [2, 3]
    with pytest.raises(ArtifactError, match="at least 3 clips of each domain, not 2"):
        subset_sizes(2, 8)


def clips_of(rng: np.random.Generator, count: int, dims: int = 16) -> list[np.ndarray]:
    return [rng.normal(size=(6, dims)) * 0.8 for _ in range(count)]


def test_extrapolation_removes_most_of_the_bias() -> None:
    """Same mean, standard deviations 1 and 0.8 in 16 dimensions: the true distance is 16 * 0.2^2."""
    reference = Gaussian(np.zeros(16), np.eye(16))
    truth, rng = 16 * 0.2**2, np.random.default_rng(0)
    plain, extrapolated = [], []
    for _ in range(20):
        evaluated = Evaluated(clips_of(rng, 30), reference)
        plain.append(evaluated.distance(np.arange(30)) - truth)
        extrapolated.append(fad_infinity(evaluated, np.arange(30), 8, 4, rng) - truth)
    assert np.mean(plain) > 0.3 * truth
    assert abs(np.mean(extrapolated)) < 0.1 * np.mean(plain)


def test_half_sampling_has_the_spread_that_fresh_samples_have() -> None:
    """On the safe side: halves are noisier than their size alone says."""
    reference, rng = Gaussian(np.zeros(16), np.eye(16)), np.random.default_rng(1)
    values, widths = [], []
    for _ in range(30):
        evaluated = Evaluated(clips_of(rng, 24), reference)
        values.append(fad_infinity(evaluated, np.arange(24), 8, 8, rng))
        deviations = half_sampling(evaluated, Design.of(list(map(str, range(24)))), 8, 40, rng)
        widths.append(np.sqrt(np.square(deviations).sum()))
    assert 1 < np.mean(widths) / np.std(values, ddof=1) < 2


def test_score_is_seeded_and_says_what_it_drew() -> None:
    rng = np.random.default_rng(3)
    reference, frames = Gaussian.of(rng.normal(size=(400, 8))), {f"clip_{i}": rng.normal(size=(4, 8)) for i in range(16)}
    families = [f"family_{i // 2}" for i in range(16)]
    entry = score(frames, families, reference, SETTINGS, seed=0)
    assert entry == score(frames, families, reference, SETTINGS, seed=0)
    assert entry["value"] != score(frames, families, reference, SETTINGS, seed=1)["value"]
    # Eight families are too few to take halves of, sixteen are enough.
    assert (entry["unit"], entry["n"], entry["n_frames"], len(entry["deviations"])) == ("clip", 16, 64, 20)
    assert (entry["clusters"], entry["freedom"]) == (16, 8), "clips within their families"
    by_family = score(frames, list(frames), reference, SETTINGS, seed=0)
    assert (by_family["unit"], by_family["freedom"]) == ("family", 15)
    half = stats.t.ppf(0.975, 8) * np.sqrt(np.square(entry["deviations"]).sum())
    assert (entry["low"], entry["high"]) == pytest.approx((entry["value"] - half, entry["value"] + half))
    assert entry["fad_n"] > entry["value"]
    assert entry["clips"] == score(frames, families, reference, SETTINGS, seed=1)["clips"]
    assert entry["clips"] != score(dict(reversed(frames.items())), families, reference, SETTINGS, seed=0)["clips"]


def test_half_of_every_stratum_is_kept() -> None:
    """Two families of clips around different points: their share stays, so that halves do not differ by it."""
    rng = np.random.default_rng(5)
    clips = [rng.normal(size=(6, 8)) + (0 if i < 8 else 40) for i in range(16)]
    evaluated, families = Evaluated(clips, Gaussian(np.zeros(8), np.eye(8))), ["a"] * 8 + ["b"] * 8
    within, any_half = (
        np.sqrt(np.square(half_sampling(evaluated, design, 8, 20, np.random.default_rng(6))).sum())
        for design in (Design.of(families), Design(np.arange(16), np.zeros(16, dtype=np.int64), "clip"))
    )
    assert within < 0.5 * any_half


def test_few_clips_have_no_interval() -> None:
    rng = np.random.default_rng(3)
    entry = score(
        {f"clip_{i}": rng.normal(size=(4, 8)) for i in range(5)},
        list("abcde"),
        Gaussian.of(rng.normal(size=(99, 8))),
        SETTINGS,
        0,
    )
    assert (entry["low"], entry["high"], entry["deviations"], entry["freedom"]) == (None, None, [0], 0)


def test_a_single_frame_is_refused() -> None:
    with pytest.raises(ArtifactError, match="at least 2 frames, not 1"):
        Gaussian.of(np.zeros((1, 4)))
    clips = [np.zeros((1, 4)), np.zeros((1, 4))]
    with pytest.raises(ArtifactError, match="a subset has 1"):
        Evaluated(clips, Gaussian(np.zeros(4), np.eye(4))).distance(np.array([0]))


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    """Random embeddings: 30 real clips in two shards, and 15 made clips of each domain, of which the arms have 12.

    The first speech of the test split is on the unseen list.
    """
    rng, rows = np.random.default_rng(0), []
    for split, domain, count in (("train", "speech", 30), ("train", "audio", 30), ("test", "speech", 15), ("test", "audio", 15)):
        listing = "main" if (split, domain) == ("test", "speech") else ""
        rows += [
            {"id": f"queen_{split}_{domain}_{i}", "domain": domain, "split": split, "family": f"f{i}", "listing": listing}
            for i in range(count)
        ]
    rows.insert(0, {"id": "queen_unseen", "domain": "speech", "split": "test", "family": "f99", "listing": "unseen"})
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    write_table(tmp_path / "manifest.parquet", table)

    def features(part: pd.DataFrame) -> list:
        return [(clip, "embedding", torch.from_numpy(rng.normal(size=(5, 8))).half(), 2.0) for clip in part.id]

    shards = [tmp_path / f"{shard}.safetensors" for shard in (0, 1)]
    for number, shard in enumerate(shards):
        write_shard(shard, "yamnet", features(table[table.split == "train"][number::2]))
    index(Settings(), store="mel", shards=shards, out=tmp_path / "real.parquet")
    write_shard(tmp_path / "made.safetensors", "yamnet", features(table[table.split == "test"]))
    return tmp_path


def fad(demo: Experiment, folder: Path, evaluated: str = "made.safetensors", **counts: int) -> None:
    evaluation = demo.evaluation.model_copy(update={"frechet": SETTINGS, **counts})
    p = settings(demo.model_copy(update={"evaluation": evaluation}), "fad", embedding="yamnet")
    assert isinstance(p, FadSettings)
    run(
        p,
        embedding="yamnet",
        manifest=folder / "manifest.parquet",
        reference=folder / "real.parquet",
        evaluated=folder / evaluated,
        out=folder / "fad_yamnet.json",
        utterances=folder / "fad.parquet",
    )


def test_the_stage_scores_both_domains_on_the_clips_of_the_arms(embedded: Path, demo: Experiment) -> None:
    fad(demo, embedded, speech_clips=12, audio_clips=9)
    found = read_json(embedded / "fad_yamnet.json")
    assert sorted(found) == ["audio_fad_yamnet", "audio_kad_yamnet", "speech_fad_yamnet", "speech_kad_yamnet"]
    speech, audio = found["speech_fad_yamnet"], found["audio_fad_yamnet"]
    assert (speech["n"], speech["n_frames"], speech["reference_clips"], speech["unit"]) == (12, 60, 10, "family")
    assert (audio["n"], audio["low"]) == (9, None)
    table = read_table(embedded / "fad.parquet")
    assert list(table.columns) == ["clip", "family", "domain", "frames"]
    assert table.groupby("domain").frames.sum().to_dict() == {"audio": 45, "speech": 60}
    # The plain distance is the one of the first twelve clips to the first ten of the training split.
    real = FeatureStore([embedded / "real.parquet"]).feature("yamnet", "embedding")
    made = Feature.of_shard(embedded / "made.safetensors", "embedding")
    clips = [
        [store[f"queen_{split}_speech_{i}"].double().numpy() for i in range(count)]
        for store, split, count in ((real, "train", 10), (made, "test", 12))
    ]
    gaussians = [Gaussian.of(np.concatenate(part)) for part in clips]
    assert speech["fad_n"] == pytest.approx(frechet_distance(*gaussians), rel=1e-9)
    kernel, reference = found["speech_kad_yamnet"], Reference(clips[0])
    expected = kernel_distance(clips[1], list(map(str, range(12))), reference).interval()
    assert (kernel["value"], kernel["low"], kernel["high"]) == pytest.approx((expected.value, expected.low, expected.high))
    assert (kernel["n"], kernel["unit"], kernel["bandwidth"]) == (12, "family", pytest.approx(reference.bandwidth))
    assert kernel["clips"] == speech["clips"] != audio["clips"]
    assert found["audio_kad_yamnet"]["low"] is not None, "few clips can be left out in turn, though not be halved"


def test_a_clip_that_was_not_embedded_is_an_error(embedded: Path, demo: Experiment) -> None:
    with pytest.raises(ArtifactError, match="no feature for clip 'queen_test_speech_0'"):
        fad(demo, embedded, evaluated="0.safetensors", speech_clips=12)


def test_the_shipped_settings_give_an_interval(demo: Experiment) -> None:
    assert min(demo.evaluation.speech_clips, demo.evaluation.audio_clips) >= FEWEST_CLUSTERS
