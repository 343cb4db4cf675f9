"""Files as a git revision has them, and tables of scores read from text."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pandas as pd

from agrepa.errors import ArtifactError

NUMBERS = ["value", "low", "high"]
NEEDED = ["row", "metric", *NUMBERS]


def _git(repository: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(repository), *words], capture_output=True, check=False)


def commit(repository: Path, revision: str) -> str:
    """The full hash of a revision (``HEAD~1``, a tag, a hash); ArtifactError when git does not know it."""
    # --end-of-options: a revision that begins with a dash is a wrong revision, not an option.
    known = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if known.returncode:
        raise ArtifactError(f"{repository}: git knows no revision {revision!r}: see git log --oneline for those there are")
    return known.stdout.decode().strip()


def content(repository: Path, revision: str, path: str) -> bytes | None:
    """A file as a revision has it, None where it has none.

    Args:
        repository: a folder inside the git repository.
        path: from the repository's root, e.g. ``results/demo/scores/scores.csv``.

    Raises ArtifactError for an unknown revision.
    """
    shown = _git(repository, "show", f"{commit(repository, revision)}:{path}")
    return None if shown.returncode else shown.stdout


def folder(repository: Path, revision: str, path: str) -> dict[str, bytes]:
    """The files of a folder of a revision by their path inside it; none where there is no such folder.

    Raises ArtifactError for an unknown revision.
    """
    packed = _git(repository, "archive", "--format=tar", f"{commit(repository, revision)}:{path}")
    if packed.returncode:
        return {}
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def scores_at(repository: Path, revision: str, path: str) -> pd.DataFrame:
    """The table of scores of a revision, as ``scores`` reads it.

    Raises ArtifactError for an unknown revision, a file that is absent there, or one that is no table of scores.
    """
    found = content(repository, revision, path)
    if found is None:
        raise ArtifactError(f"{path} is not in revision {revision!r} of {repository}: give its path from the repository's root")
    return scores(found, f"{path} in revision {revision!r}")


def scores(data: bytes, where: str) -> pd.DataFrame:
    """A table of scores from the bytes of its CSV: one line a (row, metric), which are its index, every cell as it is written.

    Args:
        where: what an error calls it.

    Raises ArtifactError for what is no CSV, lacks one of ``NEEDED``, has a (row, metric) twice, or text for a number.
    """
    try:
        frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{where} is not a readable CSV file: {error}") from None
    missing = [column for column in NEEDED if column not in frame]
    if missing:
        raise ArtifactError(f"{where} lacks the columns {', '.join(missing)}: it is no table of scores")
    twice = frame[frame.duplicated(["row", "metric"])]
    if len(twice):
        raise ArtifactError(f"{where}: {twice.iloc[0].row} has {twice.iloc[0].metric} more than once: run the stage scores again")
    table = frame.set_index(["row", "metric"])
    try:
        numbers(table)
    except ValueError as error:
        raise ArtifactError(f"{where} holds something that is not a number ({error}): run the stage scores again") from None
    return table


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Value, low and high of a table of scores as floats, NaN where a cell is empty."""
    return table[NUMBERS].apply(lambda column: pd.to_numeric(column.where(column != "")).astype(float))
