"""The speech of a row's main list, of which opinion scores and likeness of voices are taken."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from agrepa.corpora import manifest as manifests
from agrepa.errors import ArtifactError


def speech_clips(manifest: Path, audio: Path) -> pd.DataFrame:
    """Rows (clip, family, domain) of the manifest for the speech clips of the main list in a folder, in manifest order.

    Raises ArtifactError when the folder holds no such speech or a clip that the manifest lacks.
    """
    table = manifests.read(manifest)
    found = {path.stem for path in audio.glob("*.flac")}
    unknown = sorted(found - set(table.id))
    if unknown:
        raise ArtifactError(
            f"{audio} holds clips that {manifest} lacks: {', '.join(unknown[:5])}: run the stage that writes it again"
        )
    rows = table[table.id.isin(found) & (table.domain == "speech") & (table.listing != manifests.UNSEEN)]
    if rows.empty:
        raise ArtifactError(f"{audio} holds no speech clip of {manifest}: run the stage that writes it again")
    return rows[["id", "family", "domain"]].rename(columns={"id": "clip"}).reset_index(drop=True)
