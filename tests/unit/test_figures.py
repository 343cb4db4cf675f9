"""Every figure is drawn from made-up collected results, the same bytes every time, and says which file it misses."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from made_results import ARMS, made_scores, settings, write_collected

from agrepa.errors import ArtifactError
from agrepa.params import Experiment
from agrepa.reporting import figures, figures_curves, figures_scd
from agrepa.reporting.collected import read_probe
from agrepa.reporting.figures_listening import image
from agrepa.reporting.kept_clips import read_clips
from agrepa.reporting.metrics import metrics
from agrepa.reporting.probed import Probe
from agrepa.reporting.style import arm_styles, layer_ticks, whiskers


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    return write_collected(tmp_path / "demo" / "scores")


def draw(experiment: Experiment, collected: Path, out: Path) -> None:
    figures.run(
        settings(experiment, "figures"),
        scores=collected / "scores.csv",
        probes=collected / "probes",
        selections=collected / "selections",
        curves=collected / "curves.csv",
        trend=collected / "fog_a_trend.csv",
        listening=collected / "listening",
        out=out,
    )


def test_every_figure_is_drawn_the_same_every_time(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    draw(demo, collected, tmp_path / "one")
    draw(demo, collected, tmp_path / "two")
    assert {path.name for path in (tmp_path / "one").iterdir()} == set(figures.FIGURES)
    for name in figures.FIGURES:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        pixels = matplotlib.image.imread(io.BytesIO(content))
        assert pixels.shape[1] > 1000
        assert pixels[..., :3].std() > 0.05, f"{name} is blank"
        assert b"Software" not in content[:500]


@pytest.mark.parametrize(
    "file",
    [
        "scores.csv",
        "probes/seed0/fog_a.json",
        "probes/seed0/lasp.json",
        "fog_a_trend.csv",
        "curves.csv",
        "listening/clips.csv",
        "listening/mels.safetensors",
    ],
)
def test_a_figure_without_its_data_names_the_file(demo: Experiment, collected: Path, tmp_path: Path, file: str) -> None:
    (collected / file).unlink()
    with pytest.raises(ArtifactError, match=f"{file} is missing"):
        draw(demo, collected, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "keep", "message"),
    [
        ("curves.csv", "series != 'train_flow'", r"curves\.csv has no series train_flow"),
        ("curves.csv", "row != 'warmup'", r"curves\.csv has no row warmup"),
        ("curves.csv", "row == 'warmup'", r"curves\.csv has no row of an arm"),
        ("fog_a_trend.csv", "domain != 'audio'", r"fog_a_trend\.csv has nothing of domain audio"),
    ],
)
def test_a_series_that_is_absent_is_named(
    demo: Experiment, collected: Path, tmp_path: Path, file: str, keep: str, message: str
) -> None:
    path = collected / file
    pd.read_csv(path).query(keep).to_csv(path, index=False)
    with pytest.raises(ArtifactError, match=message):
        draw(demo, collected, tmp_path / "out")


def test_a_damaged_safetensors_file_is_named(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    (collected / "listening" / "mels.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ArtifactError, match="not a readable safetensors file"):
        draw(demo, collected, tmp_path / "out")


def test_a_listed_clip_without_a_spectrogram_is_named(collected: Path) -> None:
    path = collected / "listening" / "clips.csv"
    table = pd.read_csv(path)
    pd.concat([table, table.head(1).assign(clip="queen_999")]).to_csv(path, index=False)
    with pytest.raises(ArtifactError, match="no spectrogram of queen_999"):
        read_clips(collected / "listening")


def test_clips_come_speech_first_with_every_row_and_the_models_audio(collected: Path) -> None:
    clips = read_clips(collected / "listening")
    assert [clip.domain for clip in clips] == ["speech"] * 3 + ["audio"] * 3
    assert clips[0].words == "You must be the new pilot <from> Rio & friends."
    assert clips[3].words == "door & hinge"
    assert sorted(clips[0].mels) == sorted(["ground_truth", "copy_synthesis", *ARMS, "control"])
    assert sorted(clips[0].audio) == sorted([*ARMS, "control"])


def test_a_spectrogram_has_a_pixel_a_cell_and_low_bands_at_the_bottom() -> None:
    mel = np.zeros((50, 80), np.uint8)
    mel[10, 0] = 255
    pixels = matplotlib.image.imread(io.BytesIO(image(mel)))
    assert pixels.shape[:2] == (80, 50)
    assert np.unravel_index(pixels[..., :3].sum(2).argmax(), (80, 50)) == (79, 10)


def test_curves_are_means_over_seeds_and_running_means_over_records() -> None:
    table = pd.DataFrame({"step": [10, 10, 20, 20, 30, 30], "value": [1.0, 3.0, 2.0, 4.0, 5.0, 5.0]})
    assert figures_curves.mean_curve(table, 1).tolist() == [2, 3, 5]
    assert figures_curves.mean_curve(table, 2).tolist() == [2, 2.5, 4]


def test_probes_with_values_at_or_below_zero_are_drawn_too(collected: Path, tmp_path: Path) -> None:
    fog_a, lasp = (read_probe(collected / "probes", name) for name in ("fog_a", "lasp"))
    lowered = {domain: Probe(**(vars(found) | {"low": found.low - 1})) for domain, found in fog_a.items()}
    figures_scd.store_against_contribute(lowered, lasp, "note", tmp_path / "linear.png")
    figures_scd.store_against_contribute(fog_a, lasp, "note", tmp_path / "logarithmic.png")
    assert (tmp_path / "linear.png").read_bytes() != (tmp_path / "logarithmic.png").read_bytes()


def test_scores_of_a_single_arm_are_drawn(demo: Experiment, collected: Path, tmp_path: Path) -> None:
    scores = made_scores()
    scores[scores.row.isin(["ground_truth", "base"])].to_csv(collected / "scores.csv", index=False)
    draw(demo, collected, tmp_path / "out")
    assert (tmp_path / "out" / "differences.png").exists()


def test_every_arm_of_the_paper_looks_different(demo: Experiment) -> None:
    looks = [tuple(look.values()) for look in arm_styles(list(demo.rows)).values()]
    assert len(set(looks)) == len(demo.rows)


@pytest.mark.parametrize("depth", [12, 24, 48])
def test_layer_axes_stay_readable(depth: int) -> None:
    assert len(layer_ticks(depth)) == 12
    assert layer_ticks(depth)[0] == 1


def test_an_interval_that_misses_its_value_is_clipped() -> None:
    assert whiskers(np.array([1.0]), np.array([1.2]), np.array([1.5])).tolist() == [[0.0], [0.5]]


def test_other_numbers_of_embeddings_fill_other_numbers_of_panels(demo: Experiment, tmp_path: Path) -> None:
    measured = metrics(["yamnet"], demo.encoders)  # seven metrics: two of nine panels stay empty
    figures_curves.score_dots(made_scores(), measured, dict.fromkeys(ARMS, "an arm"), list(ARMS), "note", tmp_path / "out.png")
    assert (tmp_path / "out.png").exists()
