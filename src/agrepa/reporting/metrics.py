"""The metrics of the tables: their names for a reader, their direction, and what the paper gives beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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


WORDS, UNSEEN = "Speech: words and units", "Speech of unseen speakers: words and units"
QUALITY, AUDIO = "Speech: quality and distance", "General audio"
GROUPS = (WORDS, UNSEEN, QUALITY, AUDIO)
UNDERSTOOD = (
    *("speech_wer", "speech_wer_utterance", "speech_cer", "speech_wer_unseen", "speech_cer_unseen", "speech_mos_distill"),
    *("speech_wer_ctc", "speech_cer_ctc", "speech_wer_ctc_unseen", "speech_cer_ctc_unseen"),
)
"""Metrics that say nothing of speech which is not understood."""
OPTIONAL = ("speech_wer_ctc", "speech_cer_ctc", "speech_wer_ctc_unseen", "speech_cer_ctc_unseen", "speech_sim_o")
"""Metrics of networks that an experiment may do without."""
PAPER_FAD = "paper: FAD (VGGish)"


def distances(embeddings: Sequence[str], encoders: Mapping[str, Encoder]) -> list[Metric]:
    """The Frechet and kernel distances and the flow loss, speech before audio; the paper's FAD is beside the first embedding's.

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
        found += [Metric(f"{domain}_kad_{name}", f"KAD ({encoders[name].label})", group) for name in embeddings]
        found.append(Metric(f"{domain}_flow_loss", "flow loss", group))
    return found


def metrics(embeddings: Sequence[str], encoders: Mapping[str, Encoder], found: Collection[str] = ()) -> tuple[Metric, ...]:
    """Every metric in the order of the tables; one of OPTIONAL only where it is among ``found``, the names that there are."""
    fads = distances(embeddings, encoders)
    known = (
        Metric("speech_wer", "WER (%)", WORDS, paper="speech_wer", paper_title="paper: WER (%)"),
        Metric("speech_cer", "CER (%)", WORDS),
        Metric("speech_wer_utterance", "WER per utterance (%)", WORDS),
        Metric("speech_wer_ctc", "WER, second judge (%)", WORDS),
        Metric("speech_cer_ctc", "CER, second judge (%)", WORDS),
        Metric("speech_uer", "UER (%)", WORDS),
        *(Metric(f"speech_{rate}_unseen", f"{rate.upper()}, unseen (%)", UNSEEN) for rate in ("wer", "cer", "uer")),
        *(Metric(f"speech_{r}_ctc_unseen", f"{r.upper()}, second judge, unseen (%)", UNSEEN) for r in ("wer", "cer")),
        Metric("speech_mos_distill", "MOS (Distill-MOS)", QUALITY, False, "speech_mos", "paper: MOS (raters)"),
        Metric("speech_sim_o", "SIM-o (WavLM)", QUALITY, False),
        *(metric for metric in fads if metric.group == QUALITY),
        *(metric for metric in fads if metric.group == AUDIO),
        Metric("audio_uer", "UER (%)", AUDIO),
    )
    return tuple(metric for metric in known if metric.name not in OPTIONAL or metric.name in found)
