"""Distill-MOS: known ratings, what must and must not change them, and the stage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from made_results import settings

from agrepa.archives.containers import deb_members
from agrepa.artifacts.files import read_json, write_table
from agrepa.audio import files
from agrepa.corpora.manifest import COLUMNS
from agrepa.corpora.queen_resources import Resources
from agrepa.errors import AgrepaError, ArtifactError, AudioError
from agrepa.evaluation import mos
from agrepa.evaluation.statistics import ratio

LINES = {"queen_a": "020001P2.SB", "queen_b": "28009AJ2.SB", "queen_c": "600029P2.SB"}


@pytest.fixture(scope="module")
def waves(archive):
    """Three lines of the game at 16 kHz."""
    game = Resources(*deb_members(archive("queen"), lambda name: name.endswith("/queen.1c")).values(), "queen")
    return {clip: files.resample(*files.read(game[line], line), 16000) for clip, line in LINES.items()}


@pytest.fixture(scope="module")
def model(archive):
    return mos.load(archive("distillmos"))


def rate(model, wave):
    with torch.inference_mode():
        return model(torch.as_tensor(wave, dtype=torch.float32)[None]).item()


def test_known_ratings(model, waves):
    """Those of the published package with its own weights."""
    assert [rate(model, wave) for wave in waves.values()] == pytest.approx([2.22083, 3.45111, 3.31599], abs=2e-3)


def test_noise_lowers_the_rating_and_level_does_not(model, waves):
    wave = waves["queen_c"]
    noisy = wave + np.random.default_rng(0).normal(0, 0.05, len(wave))
    assert rate(model, noisy) < rate(model, wave) - 0.3
    assert rate(model, 0.1 * wave) == pytest.approx(rate(model, wave), abs=1e-3)


@pytest.fixture
def row(waves, tmp_path):
    """A manifest of the three lines, an unseen one and a sound, and a folder with all but one of the lines."""
    ids = ["queen_c", "queen_b", "queen_a", "queen_z", "game_d"]
    table = pd.DataFrame({column: [kind()] * 5 for column, kind in COLUMNS.items()})
    table["id"], table["domain"], table["family"] = ids, ["speech"] * 4 + ["audio"], ["x", "y", "y", "u", "z"]
    table["listing"] = ["main"] * 3 + ["unseen", ""]
    write_table(tmp_path / "manifest.parquet", table)
    files.write_flac(tmp_path / "audio" / "queen_z.flac", waves["queen_b"] * 0.9, 16000)
    for clip in ("queen_a", "queen_c"):
        files.write_flac(tmp_path / "audio" / f"{clip}.flac", waves[clip] * 0.9, 16000)
    files.write_flac(tmp_path / "audio" / "game_d.flac", np.zeros(16000, np.float32), 16000)
    return tmp_path


def run(demo, folder, archive, sample_rate=16000):
    corpora = demo.corpora.model_copy(update={"sample_rate": sample_rate})
    mos.run(
        settings(demo.model_copy(update={"corpora": corpora}), "mos"),
        manifest=folder / "manifest.parquet",
        audio=folder / "audio",
        archive=archive("distillmos"),
        out=folder / "mos.json",
        utterances=folder / "mos.parquet",
    )
    return read_json(folder / "mos.json"), pd.read_parquet(folder / "mos.parquet")


def test_stage_rates_the_speech_in_the_folder(demo, row, archive, model, waves):
    scores, utterances = run(demo, row, archive)
    assert utterances.columns.tolist() == ["clip", "family", "domain", "mos"]
    assert utterances["clip"].tolist() == ["queen_c", "queen_a"]  # the manifest's order, without the unseen list
    wave, _ = files.read(row / "audio" / "queen_a.flac")
    assert utterances.mos[1] == pytest.approx(rate(model, wave), abs=1e-6)
    found = scores["speech_mos_distill"]
    assert found["n"] == 2 and found["value"] == pytest.approx(utterances.mos.mean())
    expected = ratio(utterances.mos, [1, 1], ["x", "y"]).interval(positive=True)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_stage_refuses_foreign_missing_and_unreadable_clips(demo, row, archive):
    files.write_flac(row / "audio" / "stray.flac", np.zeros(16000, np.float32), 16000)
    with pytest.raises(ArtifactError, match=r"audio holds clips that .*manifest\.parquet lacks: stray"):
        run(demo, row, archive)
    (row / "audio" / "stray.flac").unlink()
    with pytest.raises(AudioError, match=r"queen_c\.flac: is at 16000 Hz and 22050 Hz is expected"):
        run(demo, row, archive, sample_rate=22050)
    (row / "audio" / "queen_c.flac").write_bytes(b"not audio")
    with pytest.raises(AudioError, match=r"queen_c\.flac"):
        run(demo, row, archive)
    for clip in ("queen_a", "queen_c"):  # an unseen one is left, which is not rated
        (row / "audio" / f"{clip}.flac").unlink()
    with pytest.raises(ArtifactError, match="audio holds no speech clip"):
        run(demo, row, archive)


def test_wrong_archive_is_refused(archive):
    with pytest.raises(AgrepaError, match="aisfx"):
        mos.load(archive("aisfx"))
