"""A few clips of every row to look at and listen to: spectrograms of all rows, sound of what the models made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch

from agrepa.artifacts.files import save_tensors, write_json
from agrepa.audio import files
from agrepa.audio.mel import log_mel
from agrepa.corpora import manifest as manifests
from agrepa.errors import ArtifactError
from agrepa.evaluation.rows import ANCHORS
from agrepa.job import In, Ins, Out

if TYPE_CHECKING:
    from agrepa.params.stages import ListeningSettings

LEVELS = 255


def folders_by_row(audio: list[Path]) -> dict[str, Path]:
    """Row -> its folder ``…/<row>/seed<seed>``, the first given of each row; rows in the order given."""
    rows: dict[str, Path] = {}
    for folder in audio:
        rows.setdefault(folder.parent.name, folder)
    return rows


def shared_clips(table: pd.DataFrame, split: str, domains: Sequence[str], folders: list[Path], count: int) -> list[str]:
    """The first ``count`` clips of each domain's evaluation list that every folder has.

    Raises ArtifactError when there is none of a domain.
    """
    shared = set.intersection(*({file.stem for file in folder.glob("*.flac")} for folder in folders))
    chosen = []
    for domain in domains:
        listed = table.id[(table.split == split) & (table.domain == domain) & table.id.isin(shared)].tolist()[:count]
        if not listed:
            raise ArtifactError(
                f"no {domain} {split} clip is in every one of {', '.join(map(str, folders))}: run their stages again"
            )
        chosen += listed
    return chosen


def run(p: ListeningSettings, *, manifest: In, audio: Ins, out: Out) -> None:
    """Keep a few clips of every row to look at and listen to.

    Writes clips.csv, mels.safetensors (uint8 ``[T, bands]`` by ``<row>/<clip>``), mels.json and audio/<row>/<clip>.flac.

    One scale for all spectrograms: 0 and 255 are the lowest and highest log-mel value of all, which mels.json gives.
    """
    table, rows = manifests.read(manifest), folders_by_row(audio)
    clips = shared_clips(table, p.split, p.domains, list(rows.values()), p.clips)
    mels = {}
    for row, folder in rows.items():
        for clip in clips:
            wave, rate = files.read(folder / f"{clip}.flac", expected_rate=p.sample_rate)
            mels[f"{row}/{clip}"] = log_mel(torch.from_numpy(wave)[None], p.mel, rate)[0]
            # The recordings are not ours to pass on, and copy synthesis is a recording through a vocoder.
            if row not in ANCHORS:
                target = out / "audio" / row / f"{clip}.flac"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / f"{clip}.flac", target)
    low = min(float(mel.min()) for mel in mels.values())
    high = max(float(mel.max()) for mel in mels.values())
    scale = LEVELS / max(high - low, 1e-6)
    levels = {key: ((mel - low) * scale).round().clamp(0, LEVELS).to(torch.uint8) for key, mel in mels.items()}
    save_tensors(out / "mels.safetensors", levels)
    hop = {"sample_rate": p.sample_rate, "hop": p.mel.hop, "f_min": p.mel.f_min, "f_max": p.mel.f_max}
    write_json(out / "mels.json", {"min": low, "max": high, "rows": list(rows), **hop})
    shown = table.set_index("id").loc[clips, ["domain", "family", "text", "label", "seconds"]].rename_axis("clip").reset_index()
    shown.to_csv(out / "clips.csv", index=False, float_format="%.6g", lineterminator="\n")
