"""The spread of runs with other seeds, and the interval that one more run must lie in."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from agrepa.errors import ArtifactError
from agrepa.reporting.agreement import agreement
from agrepa.reporting.revisions import scores
from agrepa.reporting.spread import half_width, read, spread


def table(cells: dict[tuple[str, str], tuple[object, object, object]]) -> pd.DataFrame:
    """Scores from (row, metric) -> (value, low, high)."""
    lines = [f"{row},{metric},{v},{lo},{hi}" for (row, metric), (v, lo, hi) in cells.items()]
    return scores("\n".join(["row,metric,value,low,high", *lines]).encode(), "scores.csv")


def run(base: float, ag_repa: float, anchor: float = 9.0) -> pd.DataFrame:
    values = {"ground_truth": anchor, "base": base, "ag_repa": ag_repa}
    return table({(row, "speech_wer"): (value, value - 1, value + 1) for row, value in values.items()})


def of(frame: pd.DataFrame) -> pd.DataFrame:
    return read(frame.to_csv(index=False).encode(), "spread.csv")


def test_the_deviation_is_pooled_over_trained_rows_about_their_own_means() -> None:
    # Base deviates by -2, 0, 2 and AG-REPA by -1, 0, 1: (8 + 2) / (2 rows x 2).
    found = spread([run(90, 81, 1), run(92, 80, 5), run(94, 79, 9)])
    assert found.to_dict("records") == [
        {"metric": "speech_wer", "domain": "speech", "rows": "base ag_repa", "n": 3, "sd": "1.58114", "freedom": 4}
    ]


def test_the_interval_of_one_more_run_is_wider_than_the_deviation_by_t_and_by_the_published_run_itself() -> None:
    # Closed form of t's quantile: with 2 degrees of freedom (2 p - 1) / sqrt(2 p (1 - p)), with 1 tan(pi (p - 1/2)).
    assert half_width(3, 2) == pytest.approx(3 * np.sqrt(2) * 0.95 / np.sqrt(2 * 0.975 * 0.025), rel=1e-12)
    assert half_width(3, 1, published=3) == pytest.approx(3 * np.sqrt(4 / 3) * np.tan(np.pi * 0.475), rel=1e-12)
    assert half_width(0, 4) == 0


def test_the_interval_holds_one_more_run_in_95_of_100_cases() -> None:
    rng = np.random.default_rng(0)
    rows, runs, cases = 4, 3, 4000
    replications = rng.normal(size=(cases, rows, runs))
    sd = np.sqrt(replications.var(axis=2, ddof=1).mean(axis=1))
    published, new = rng.normal(size=(2, cases))
    inside = np.abs(new - published) <= sd * half_width(1, rows * (runs - 1))
    assert inside.mean() == pytest.approx(0.95, abs=0.01)


def test_trained_rows_are_judged_by_the_spread_and_anchors_by_their_interval_over_clips() -> None:
    known = of(spread([run(90, 81), run(92, 80), run(94, 79)]))
    half = half_width(1.58114, 4)
    assert half == pytest.approx(2.776445 * 1.58114 * np.sqrt(2), rel=1e-6)
    found = agreement(run(90, 80), run(90 + half - 0.01, 80 - half - 0.01, 10.01), known).scores.set_index("row")
    assert found.verdict.to_dict() == {"ground_truth": "outside", "base": "inside", "ag_repa": "outside"}
    assert found.loc["ground_truth", ["low", "high"]].tolist() == [8, 10]
    assert found.loc["base", ["low", "high"]].tolist() == pytest.approx([90 - half, 90 + half])
    clips = agreement(run(90, 80), run(90.5, 81.5), None).scores.set_index("row")
    assert clips.verdict.to_dict() == {"ground_truth": "same", "base": "inside", "ag_repa": "outside"}


def test_every_cell_counts_and_scores_that_only_one_run_has_are_told() -> None:
    old = table({("base", "speech_wer"): (90, 88, 92), ("base", "audio_uer"): (5, "", ""), ("base", "speech_cer"): (7, 6, 8)})
    new = table({("base", "speech_wer"): (90, "88.0", 92), ("base", "audio_uer"): (6, "", ""), ("base", "speech_uer"): (1, 0, 2)})
    found = agreement(old, new, None)
    cells = found.scores.set_index("metric")
    assert cells.verdict.to_dict() == {
        **{"speech_wer": "inside", "audio_uer": "no interval", "speech_cer": "missing"},
        **{"speech_uer": "new"},
    }
    assert cells.cells["speech_wer"] == "low 88 > 88.0"
    assert not found.passed(alike=False)


@pytest.mark.parametrize(("judged", "allowed"), [(0, 0), (1, 1), (20, 4), (54, 7)])
def test_as_many_may_lie_outside_as_a_binomial_at_5_percent_allows_at_99(judged: int, allowed: int) -> None:
    old = table({("base", f"speech_{i}"): (1, 0, 2) for i in range(judged)} | {("base", "audio_uer"): (1, 0, 2)})

    def new(outside: int) -> pd.DataFrame:
        values = [3 if i < outside else 1.5 for i in range(judged)]
        return table({("base", f"speech_{i}"): (v, 0, 2) for i, v in enumerate(values)} | {("base", "audio_uer"): (1, 0, 2)})

    found = agreement(old, new(allowed), None)
    assert (found.judged, found.allowed, found.expected) == (judged, allowed, pytest.approx(judged / 20))
    assert found.passed(alike=False)
    assert found.passed(alike=True) == (judged == 0)
    if judged > allowed:
        assert not agreement(old, new(allowed + 1), None).passed(alike=False)


def test_a_spread_needs_two_runs_with_the_same_scores() -> None:
    with pytest.raises(ArtifactError, match="over two runs at least, not 1"):
        spread([run(90, 80)])
    with pytest.raises(ArtifactError, match="runs 1 and 2 do not both have speech_wer of ag_repa"):
        spread([run(90, 80), run(90, 80).drop(index=("ag_repa", "speech_wer"))])


def test_a_published_spread_that_is_none_is_named() -> None:
    good = spread([run(90, 80), run(91, 82)])
    for column, value in (("sd", -1), ("sd", "x"), ("freedom", 0)):
        with pytest.raises(ArtifactError, match=r"spread\.csv: speech_wer has sd .* are no spread: make it with agrepa spread"):
            of(good.assign(**{column: value}))
    with pytest.raises(ArtifactError, match=r"spread\.csv lacks the columns freedom"):
        of(good.drop(columns="freedom"))
    with pytest.raises(ArtifactError, match="is not a readable CSV file"):
        read(io.BytesIO().getvalue(), "spread.csv")
