"""The spectrograms of the listening clips, as one figure and as single images for the page."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np

from agrepa.reporting.kept_clips import Clip
from agrepa.reporting.style import GREY, drawing

LOOK: dict[str, Any] = {"cmap": "magma", "vmin": 0, "vmax": 255, "origin": "lower"}


def spectrograms(clips: list[Clip], names: dict[str, str], note: str, path: Path) -> None:
    """Log-mel spectrograms: a line of panels for every row, a column for every clip, time across and bands up.

    Args:
        names: the rows to show with their labels.
    """
    rows = [row for row in names if any(row in clip.mels for clip in clips)]
    size = (1.8 * len(clips) + 1.6, 1.05 * len(rows) + 1.2)
    with drawing(path, "Log-mel spectrograms of the listening clips", note, size) as figure:
        axes = figure.subplots(len(rows), len(clips), squeeze=False)
        for line, row in zip(axes, rows, strict=True):
            for axis, clip in zip(line, clips, strict=True):
                if row in clip.mels:
                    axis.imshow(clip.mels[row].T, aspect="auto", interpolation="nearest", **LOOK)
                else:
                    axis.text(0.5, 0.5, "none", transform=axis.transAxes, ha="center", color=GREY)
                axis.set_xticks([])
                axis.set_yticks([])
                axis.spines[:].set_visible(False)
            line[0].set_ylabel(_short(names[row]), rotation=0, ha="right", va="center", fontsize=8)
        for axis, clip in zip(axes[0], clips, strict=True):
            axis.set_title(f"{clip.domain}\n{_short(clip.words, 24)}", fontsize=7.5)


def _short(text: str, length: int = 22) -> str:
    """Text broken into at most two lines of about ``length`` characters."""
    return "\n".join(textwrap.wrap(text, length, max_lines=2, placeholder=" ..."))


def image(mel: np.ndarray) -> bytes:
    """A spectrogram ``[T, bands]`` (uint8) as a PNG of one pixel a cell, low bands at the bottom."""
    buffer = io.BytesIO()
    # The version of matplotlib in the metadata would change the bytes.
    matplotlib.image.imsave(buffer, mel.T, format="png", metadata={"Software": None}, **LOOK)  # type: ignore[dict-item]
    return buffer.getvalue()
