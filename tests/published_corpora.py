"""LibriSpeech and AudioSet in their published layouts, of whatever recordings a test has."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

GROUP = 3  # rows of a row group


def flac(wave: np.ndarray, rate: int, channels: int = 1, subtype: str = "PCM_16") -> bytes:
    """A wave ``[N]`` as FLAC, the same in every channel."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([wave] * channels, 1), rate, format="FLAC", subtype=subtype)
    return buffer.getvalue()


def write_librispeech(root: Path, spoken: Mapping[str, Mapping[str, Sequence[tuple[str, bytes]]]], speakers: str) -> None:
    """A tree ``<subset>/<reader>/7/<reader>-7-<number>.flac`` with its transcripts.

    Args:
        spoken: subset -> reader's number -> transcript and FLAC of each utterance.
        speakers: the content of SPEAKERS.TXT.
    """
    for subset, readers in spoken.items():
        for reader, utterances in readers.items():
            folder = root / subset / reader / "7"
            folder.mkdir(parents=True)
            lines = []
            for number, (text, recording) in enumerate(utterances):
                name = f"{reader}-7-{number:04d}"
                (folder / f"{name}.flac").write_bytes(recording)
                lines.append(f"{name} {text}\n")
            (folder / f"{reader}-7.trans.txt").write_text("".join(lines))
    (root / "SPEAKERS.TXT").write_text(speakers)


def write_pairs(path: Path, *pairs: tuple[str, str]) -> str:
    """The list of (reference, target); returns its path. Of seconds and transcripts nothing but their form is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{reference}\t1.7\tIt's this.\t{target}\t1.8\tIt's that!\n" for reference, target in pairs))
    return str(path)


def segment(video: str, audio: bytes | None, labels: list[str], names: list[str]) -> dict[str, Any]:
    """A row of AudioSet's parquet files."""
    return {"video_id": video, "audio": {"bytes": audio, "path": None}, "labels": labels, "human_labels": names}


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    """A parquet file of ``segment`` rows, GROUP to a row group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = [("video_id", pa.string()), ("audio", struct)]
    kinds += [(name, pa.list_(pa.string())) for name in ("labels", "human_labels")]
    table = pa.Table.from_pylist(rows, schema=pa.schema(kinds))
    pq.write_table(table, path, row_group_size=GROUP, compression="none", use_dictionary=False)
