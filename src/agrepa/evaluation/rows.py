"""The rows of the tables that are no arms of ``arms.yaml``: what they are called and how their audio is made.

This is the only place that says so; it is light, because the rules read it too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BASE = "base"
"""The arm that every difference is taken to."""


@dataclass(frozen=True)
class FixedRow:
    """A row that every experiment has.

    Attributes:
        label: its name for a reader.
        made: how its audio comes about.
    """

    label: str
    made: str


GROUND_TRUTH, COPY_SYNTHESIS, CONTROL = "ground_truth", "copy_synthesis", "control"
# Made from the recordings by the stage anchor, once: no training and so no seed of one stands behind them.
ANCHORS = {
    GROUND_TRUTH: FixedRow("Ground truth", "the recordings"),
    COPY_SYNTHESIS: FixedRow("Copy synthesis", "the recordings' own spectrograms made audible again by the vocoder"),
}
# Made by the stage synthesize with the model of the experiment's control arm, once a seed like an arm.
CONTROLS = {CONTROL: FixedRow("Control (tokens of another clip)", "that model given another clip's tokens")}


def ordered(arms: Iterable[str]) -> list[str]:
    """All rows in the order of the tables: anchors, arms, control."""
    return [*ANCHORS, *arms, *CONTROLS]


def evaluated(arms: Iterable[str], seeds: Iterable[int], seed: int) -> list[tuple[str, int]]:
    """(row, seed) of everything that is evaluated; the anchors are filed under the experiment's own seed."""
    trained = list(seeds)
    return [(row, one) for row in ordered(arms) for one in ([seed] if row in ANCHORS else trained)]


def model_of(row: str, control: str) -> str:
    """The arm whose model makes the audio of an arm's row or the control's.

    Args:
        control: the experiment's control arm.
    """
    return control if row in CONTROLS else row


def labels(arms: dict[str, str]) -> dict[str, str]:
    """Row -> label, in the order of the tables.

    Args:
        arms: their labels by name.
    """
    fixed = {name: row.label for name, row in (ANCHORS | CONTROLS).items()}
    return {row: (arms | fixed)[row] for row in ordered(arms)}
