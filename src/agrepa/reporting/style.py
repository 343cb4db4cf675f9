"""How every figure looks: one style, colour-blind-safe colours, the data note in small print, the same bytes every time."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

DPI = 150
DOMAIN_COLOURS = {"speech": "#0072b2", "audio": "#d55e00"}
DOMAIN_NAMES = {"speech": "speech", "audio": "general audio"}
# Okabe and Ito's colours without yellow, which is faint on white; anchors and control are greys.
ARM_COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
ARM_DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#767676"
SEQUENTIAL = "cividis"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": DPI,
    "figure.constrained_layout.use": True,
}


@contextmanager
def drawing(path: Path, title: str, note: str, size: tuple[float, float]) -> Iterator[Figure]:
    """Yield a figure and write it as PNG, with a title above and the note in small print below.

    Args:
        size: width and height in inches.
    """
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(_wrapped(note, size[0]), x=0.01, ha="left", fontsize=6.5, color=GREY)
        yield figure
        # Without the metadata the bytes would change with the version of matplotlib alone.
        figure.savefig(path, format="png", metadata={"Software": None})


def _wrapped(note: str, width: float) -> str:
    return "\n".join(textwrap.wrap(note, int(width * 19)))


def arm_styles(arms: list[str]) -> dict[str, dict[str, Any]]:
    """Colour, line and marker of every arm; they differ in more than colour."""
    once = len(ARM_COLOURS) * len(ARM_DASHES)  # then pairs of colour and line come again, with other markers
    return {
        arm: {
            "color": ARM_COLOURS[i % len(ARM_COLOURS)],
            "linestyle": ARM_DASHES[i % len(ARM_DASHES)],
            "marker": MARKERS[(i + i // once) % len(MARKERS)],
        }
        for i, arm in enumerate(arms)
    }


def layer_ticks(depth: int) -> list[int]:
    """Layers to label on an axis: all of them when few, else every second or third."""
    step = 1 if depth <= 14 else 2 if depth <= 28 else 4
    return list(range(1, depth + 1, step))


def whiskers(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """``[2, N]`` distances down and up for matplotlib; an interval that misses its value is clipped to it."""
    return np.maximum(np.stack([value - low, high - value]), 0)
