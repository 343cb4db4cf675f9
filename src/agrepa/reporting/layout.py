"""A table as a reader sees it: text cells, written as Markdown or LaTeX (the HTML page has its own template)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

EMPTY = "-"
NOT_RUN = "not run"  # of a domain that the experiment has no clips of
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


@dataclass(frozen=True)
class Grid:
    """One rectangular table.

    Attributes:
        title: what it shows.
        header: column names; the first column names the rows.
        rows: text cells, as many as there are columns.
        metrics: for every column the metric whose run card stands behind its cells, or empty.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """A numbered table with its words.

    Attributes:
        note: what data it was measured on; it stands on every part of the table.
        caption: how it was measured.
        reading: what it shows, in a sentence.
        notes: what else must be known, e.g. which rows are missing.
    """

    name: str
    title: str
    note: str
    caption: str
    reading: str
    notes: tuple[str, ...]
    grids: tuple[Grid, ...]


def decimals(size: float) -> int:
    """Decimals that show about three significant digits of a number of this size, at most four."""
    return 2 if size == 0 else min(max(2 - math.floor(math.log10(abs(size))), 0), 4)


def number(value: float | None, places: int | None = None) -> str:
    """A number with about three significant digits, or ``-`` where there is none (None or NaN)."""
    if value is None or math.isnan(value):
        return EMPTY
    text = f"{value:.{decimals(value) if places is None else places}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def interval(value: float, low: float, high: float, signed: bool = False) -> str:
    """``12.3 [10.1, 14.9]``, with the same decimals throughout; ``-`` where there is no value, no brackets where no interval."""
    if math.isnan(value):
        return EMPTY
    known = not (math.isnan(low) or math.isnan(high))
    places = decimals(max(abs(value), abs(low), abs(high)) if known else value)
    text = number(value, places)
    if signed and value > 0 and float(text) != 0:
        text = f"+{text}"
    return f"{text} [{number(low, places)}, {number(high, places)}]" if known else text


def printed(value: float) -> str:
    """A number of the paper with no more digits than it prints, or ``-``."""
    return EMPTY if math.isnan(value) else f"{value:g}"


def listed(text: str) -> str:
    """A cell of space-separated items (layers, weights) with commas, or ``-``; those of several replications, " / " between."""
    return " / ".join(", ".join(part.split()) for part in text.split("/")) or EMPTY


def count(value: float) -> str:
    """A count, or ``-``."""
    return EMPTY if math.isnan(value) else f"{value:.0f}"


def markdown(page: Page) -> str:
    """The page as GitHub-flavoured Markdown."""
    parts = [f"# {page.title}", page.note, page.caption, f"**Reading.** {page.reading}", *page.notes]
    for grid in page.grids:
        lines = [_line(grid.header), _line(["---"] + ["---:"] * (len(grid.header) - 1)), *map(_line, grid.rows)]
        parts += [f"## {grid.title}", "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def latex(page: Page) -> str:
    """The page as LaTeX tables (packages booktabs and graphicx), one float a grid."""
    parts = [f"% {page.title}. Needs \\usepackage{{booktabs,graphicx}}."]
    for position, grid in enumerate(page.grids):
        words = [f"{page.title}. {grid.title}.", page.note]
        words += [page.caption, page.reading, *page.notes] if position == 0 else []
        body = [" & ".join(map(escape, row)) + r" \\" for row in grid.rows]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}[t]",
                    r"\centering",
                    rf"\caption{{{escape(' '.join(words))}}}",
                    rf"\label{{tab:{page.name}-{position + 1}}}",
                    r"\resizebox{\linewidth}{!}{%",
                    rf"\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}",
                    r"\toprule",
                    " & ".join(map(escape, grid.header)) + r" \\",
                    r"\midrule",
                    *body,
                    r"\bottomrule",
                    r"\end{tabular}}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text with LaTeX's special characters made harmless."""
    return "".join(LATEX.get(character, character) for character in text)
