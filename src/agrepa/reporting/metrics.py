"""The metrics of the tables: their names for a reader, their direction, and what the paper gives beside them."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    name: str
    title: str
    group: str
    lower_is_better: bool = True
    paper: str = ""
    paper_title: str = ""

    @property
    def domain(self) -> str:
        """speech or audio."""
        return self.name.split("_", 1)[0]

    @property
    def full_title(self) -> str:
        """The title with its domain."""
        return f"{self.domain} {self.title}"


WORDS, QUALITY, AUDIO = "Speech: words and units", "Speech: quality and distance", "General audio"
METRICS = (
    Metric("speech_wer", "WER (%)", WORDS, paper="speech_wer", paper_title="paper: WER (%)"),
    Metric("speech_cer", "CER (%)", WORDS),
    Metric("speech_uer", "UER (%)", WORDS),
    Metric("speech_mos_distill", "MOS (Distill-MOS)", QUALITY, False, "speech_mos", "paper: MOS (raters)"),
    Metric("speech_fad_yamnet", "FAD (YAMNet)", QUALITY, paper="speech_fad", paper_title="paper: FAD (VGGish)"),
    Metric("speech_fad_aisfx", "FAD (aisfx)", QUALITY),
    Metric("audio_fad_yamnet", "FAD (YAMNet)", AUDIO, paper="audio_fad", paper_title="paper: FAD (VGGish)"),
    Metric("audio_fad_aisfx", "FAD (aisfx)", AUDIO),
    Metric("audio_uer", "UER (%)", AUDIO),
)
GROUPS = (WORDS, QUALITY, AUDIO)
