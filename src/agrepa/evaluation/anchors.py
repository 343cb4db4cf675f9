"""The anchor rows of every table: the recordings themselves, and their copy synthesis (true mel -> vocoder)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from agrepa.artifacts import Features
from agrepa.audio import files, vocoder
from agrepa.corpora import manifest as manifests
from agrepa.domains import DOMAINS
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params import Experiment


def run(p: Experiment, row: str, manifest: Path, clips: Path, mel: list[Path], archives: list[Path], out: Path) -> None:
    """Write the clips of an anchor row, "ground_truth" or "copy_synthesis"."""
    table, store, settings = manifests.read(manifest), Features(mel, "mel"), p.evaluation
    out.mkdir(parents=True, exist_ok=True)
    ids = [
        clip
        for domain in DOMAINS
        for clip in manifests.evaluation_list(table, settings.split, domain, getattr(settings, f"anchor_{domain}_clips"))
    ]
    if row == "ground_truth":
        for clip in ids:
            shutil.copyfile(clips / f"{clip}.flac", out / f"{clip}.flac")
        return
    sound = vocoder.load(settings.vocoder, p.mel, p.corpora.sample_rate, settings.griffin_lim_iterations, archives)
    for clip in track(ids, row, unit="clip"):
        files.write_flac(out / f"{clip}.flac", sound(store[clip]), p.corpora.sample_rate)
