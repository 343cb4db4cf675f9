"""How each table was measured, and what it must not be compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agrepa.reporting.paper import DEPTH

if TYPE_CHECKING:
    from agrepa.params import Experiment

EMBEDDINGS = (
    "FAD: extrapolated to infinitely many samples; embeddings YAMNet (also a teacher and a source of tokens) and aisfx "
    "(independent of both); the paper's is VGGish."
)
CLUSTERS = (
    "Brackets: 95 % interval over speakers or source families (over clips, where there are too few of them), from drawing them "
    "with replacement, for FAD from random halves; n: clips."
)
LEVEL = "Measured values are not comparable in level with the paper's."


def caption(p: Experiment, name: str) -> str:
    """The caption of table1, table2 or table3: judge and embeddings, intervals."""
    how = {"table1": _layers, "table2": _rows, "table3": _strategies}[name](p)
    return f"{how} {LEVEL}"


def _layers(p: Experiment) -> str:
    return (
        f"Layers count from 1 of {p.model.depth} (paper: of {DEPTH}); token configuration {p.tokens.config}, here and in the "
        "paper's values. Cos-SEM and Cos-EVT: LASP against the semantic and the acoustic teacher. FoG-A: relative change of the "
        "velocity when the layer is skipped. Brackets: 95 % bootstrap interval over clips; n: clips."
    )


def _rows(p: Experiment) -> str:
    judge = p.archives["whisper_tiny_en"]
    return (
        f"WER, CER and UER in percent. WER and CER: corpus level, judge Whisper tiny.en ({judge.package} {judge.version}, sha256 "
        f"{judge.sha256[:8]}), Whisper's English normaliser. UER: error rate of the unit tokens found again in the output. MOS: "
        f"predicted by Distill-MOS, not by raters; the paper's audio MOS has no counterpart here. {EMBEDDINGS} {CLUSTERS} "
        "Differences to Base are paired by clip. Lower is better except for MOS."
    )


def _strategies(p: Experiment) -> str:
    return (
        f"{EMBEDDINGS} Gain: 100 (Base - row) / Base, on FAD (YAMNet); its interval is that of the paired difference, over "
        f"Base's value taken as exact. {CLUSTERS} The paper's convergence steps have no counterpart here."
    )
