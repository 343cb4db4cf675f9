"""The metrics of the tables: their names for a reader, their direction, and what the paper gives beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agrepa.domains import DOMAINS

if TYPE_CHECKING:
    from agrepa.params.encoders import Encoder


@dataclass(frozen=True)
class Metric:
    """One measured quantity.

    Attributes:
        name: as in ``scores.csv``.
        title: short name with the unit.
        group: heading under which a table shows it.
        lower_is_better: its direction.
        paper: column of the paper's Table 2 that belongs beside it, or empty.
        paper_title: what the paper's value is.
        embedding: of a Frechet audio distance, the encoder's label.
    """

    name: str
    title: str
    group: str
    lower_is_better: bool = True
    paper: str = ""
    paper_title: str = ""
    embedding: str = ""

    @property
    def domain(self) -> str:
        """speech or audio."""
        return self.name.split("_", 1)[0]

    @property
    def full_title(self) -> str:
        """The title with its domain."""
        return f"{self.domain} {self.title}"


WORDS, QUALITY, AUDIO = "Speech: words and units", "Speech: quality and distance", "General audio"
GROUPS = (WORDS, QUALITY, AUDIO)
PAPER_FAD = "paper: FAD (VGGish)"


def distances(embeddings: Sequence[str], encoders: Mapping[str, Encoder]) -> list[Metric]:
    """The Frechet audio distances, speech before audio; the paper's stands beside the first embedding's.

    Args:
        embeddings: the encoders that FAD is taken over.
        encoders: by name, for their labels.
    """
    found = []
    for domain, group in zip(DOMAINS, (QUALITY, AUDIO), strict=True):
        for place, name in enumerate(embeddings):
            label = encoders[name].label
            paper = (f"{domain}_fad", PAPER_FAD) if place == 0 else ("", "")
            found.append(Metric(f"{domain}_fad_{name}", f"FAD ({label})", group, True, *paper, embedding=label))
    return found


def metrics(embeddings: Sequence[str], encoders: Mapping[str, Encoder]) -> tuple[Metric, ...]:
    """Every metric in the order of the tables."""
    fads = distances(embeddings, encoders)
    return (
        Metric("speech_wer", "WER (%)", WORDS, paper="speech_wer", paper_title="paper: WER (%)"),
        Metric("speech_cer", "CER (%)", WORDS),
        Metric("speech_uer", "UER (%)", WORDS),
        Metric("speech_mos_distill", "MOS (Distill-MOS)", QUALITY, False, "speech_mos", "paper: MOS (raters)"),
        *(metric for metric in fads if metric.group == QUALITY),
        *(metric for metric in fads if metric.group == AUDIO),
        Metric("audio_uer", "UER (%)", AUDIO),
    )
