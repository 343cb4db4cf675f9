"""Corpora as the three stages prepare them, for tests that need real clips."""

from __future__ import annotations

from pathlib import Path

from agrepa.corpora import build_manifest, candidates, decode
from agrepa.params.corpora import Corpora
from agrepa.params.stages import CorporaSettings, DecodeSettings


def prepare(corpora: Corpora, archives: list[Path], folder: Path, shards: int = 2) -> Path:
    """The path of the manifest; its clips lie in ``folder/clips``."""
    listed, manifest = folder / "candidates.parquet", folder / "manifest.parquet"
    settings = CorporaSettings(corpora=corpora, seed=0)
    candidates.run(settings, archives=archives, out=listed, unusable=folder / "candidates.unusable.csv")
    rows = [folder / "clips" / f"{k}.parquet" for k in range(shards)]
    for k, path in enumerate(rows):
        decode.run(
            DecodeSettings(corpora=corpora, shards=shards),
            shard=str(k),
            candidates=listed,
            archives=archives,
            clips=path.with_suffix(""),
            rows=path,
        )
    build_manifest.run(settings, candidates=listed, rows=rows, out=manifest)
    return manifest
