"""The paper's values (``results/paper/table1.csv`` to ``table12.csv``); nothing else reads them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from agrepa.errors import ArtifactError

DEPTH = 24
"""Layers of the paper's model."""
TABLES = tuple(f"table{number}" for number in range(1, 13))


class Paper:
    """Typed access to the transcribed tables.

    Args:
        folder: where the CSV files lie, ``results/paper`` of the repository.

    Raises ArtifactError when the folder is missing.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ArtifactError(f"{folder}: no such folder: give the repository's results/paper, which holds the paper's tables")
        self.folder = folder
        self._tables: dict[str, pd.DataFrame] = {}

    def table(self, table: str) -> pd.DataFrame:
        """A whole table as text, indexed by method; empty cells are empty strings.

        Raises ArtifactError when there is no such table or it has no or repeated methods.
        """
        if table not in self._tables:
            path = self.folder / f"{table}.csv"
            if table not in TABLES or not path.exists():
                raise ArtifactError(f"{path}: no such table of the paper; there are {TABLES[0]} to {TABLES[-1]}")
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
            if "method" not in frame or "source" not in frame or frame["method"].duplicated().any():
                raise ArtifactError(f"{path}: needs the columns method and source, and every method once: restore it from git")
            self._tables[table] = frame.set_index("method")
        return self._tables[table]

    def methods(self, table: str) -> list[str]:
        """The table's rows, in the paper's order."""
        return list(self.table(table).index)

    def text(self, table: str, method: str, column: str) -> str:
        """One cell as printed; empty where the paper gives nothing.

        Raises ArtifactError that lists the methods or columns when there is none of that name.
        """
        frame = self.table(table)
        for kind, name, known in (("method", method, frame.index), ("column", column, frame.columns)):
            if name not in known:
                raise ArtifactError(f"{self.folder / table}.csv has no {kind} {name!r}; it has: {'; '.join(known)}")
        return str(frame.loc[method, column])

    def value(self, table: str, method: str, column: str) -> float | None:
        """One cell as a number, None where the paper gives nothing.

        Raises ArtifactError when there is no such cell or it is not a number.
        """
        text = self.text(table, method, column)
        if not text:
            return None
        try:
            return float(text)
        except ValueError:
            raise ArtifactError(f"{self.folder / table}.csv: {column} of {method!r} is {text!r}, not a number") from None
