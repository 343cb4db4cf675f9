"""What changed between two revisions, in a real git repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pandas as pd
import pytest
from made_results import SCORE_COLUMNS

from agrepa.errors import ArtifactError
from agrepa.reporting.compare import change, compare

TABLE = "results/demo/scores/scores.csv"


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=A Tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def write(folder: Path, cells: dict[tuple[str, str], tuple[float, float, float]]) -> None:
    path = folder / TABLE
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"row": row, "metric": metric, "value": v, "low": lo, "high": hi} for (row, metric), (v, lo, hi) in cells.items()]
    pd.DataFrame(lines, columns=SCORE_COLUMNS).to_csv(path, index=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-b", "main")
    (tmp_path / "README").write_text("nothing yet")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "empty")
    git(tmp_path, "tag", "before")
    write(
        tmp_path,
        {
            ("base", "speech_wer"): (90, 88, 92),
            ("base", "speech_uer"): (80, 70, 90),
            ("ag_repa", "speech_wer"): (90, 88, 92),
            ("random", "speech_wer"): (91, 89, 93),
        },
    )
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "one")
    git(tmp_path, "tag", "one")
    write(
        tmp_path,
        {
            ("base", "speech_wer"): (90, 88, 92),
            ("base", "speech_uer"): (75, 65, 85),
            ("ag_repa", "speech_wer"): (84.5, 82, 87),
            ("lasp", "speech_wer"): (95, 93, 97),
        },
    )
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "two")
    return tmp_path


def test_every_kind_of_change_is_told(repository: Path) -> None:
    frame, text = compare(repository, "one", "HEAD", TABLE)
    found = {(line.row, line.metric): line.change for line in frame.itertuples(index=False)}
    assert found == {
        ("base", "speech_wer"): "unchanged",
        ("base", "speech_uer"): "within",
        ("ag_repa", "speech_wer"): "exceeds",
        ("lasp", "speech_wer"): "added",
        ("random", "speech_wer"): "removed",
    }
    assert frame.set_index("row").loc["ag_repa", "difference"] == -5.5
    assert "**Reading.** 1 exceeds, 1 within, 1 unchanged, 1 added, 1 removed." in text
    assert "| ag_repa | speech_wer | 90.0 [88.0, 92.0] | 84.5 [82.0, 87.0] | -5.50 | exceeds |" in text
    assert "| random | speech_wer | 91.0 [89.0, 93.0] | - | - | removed |" in text
    assert "do not overlap" in text
    assert "| base | speech_wer |" not in text


def test_two_equal_revisions_differ_in_nothing(repository: Path) -> None:
    frame, text = compare(repository, "HEAD", "HEAD", TABLE)
    assert set(frame.change) == {"unchanged"}
    assert "4 unchanged." in text


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ((5, 4, 6), (7, 6, 8), "within"),
        ((5, 4, 6), (7, 6.01, 8), "exceeds"),
        ((7, 6.01, 8), (5, 4, 6), "exceeds"),
        ((5, float("nan"), float("nan")), (7, 6, 8), "unknown"),
    ],
)
def test_touching_intervals_overlap(old: tuple[float, ...], new: tuple[float, ...], expected: str) -> None:
    assert change(old, new) == expected


def test_an_unknown_revision_is_named(repository: Path) -> None:
    for revision in ("v9", "--output=x"):
        with pytest.raises(ArtifactError, match=f"git knows no revision '{revision}'"):
            compare(repository, revision, "HEAD", TABLE)
    assert not (repository / "x").exists()


def test_a_file_that_is_absent_there_is_named(repository: Path) -> None:
    with pytest.raises(ArtifactError, match=r"scores\.csv is not in revision 'before'"):
        compare(repository, "before", "HEAD", TABLE)


def test_a_file_that_is_no_table_of_scores_is_named(repository: Path) -> None:
    with pytest.raises(ArtifactError, match="README in revision 'HEAD' lacks the columns row, metric"):
        compare(repository, "HEAD", "HEAD", "README")
