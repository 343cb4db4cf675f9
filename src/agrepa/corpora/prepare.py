"""The prepare stage: every corpus as one manifest, and clips at one sample rate and one bandwidth."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.artifacts import write_table
from agrepa.audio import files
from agrepa.corpora import folder, game_sounds, queen, selection
from agrepa.corpora import manifest as manifests
from agrepa.corpora.clip import Clip
from agrepa.domains import DOMAINS
from agrepa.errors import CorpusError
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params import Corpora, Experiment

SILENCE = -50.0  # dB of full scale; what is below at both ends is cut off: digital silence dominates FAD embeddings
ROUNDING = 0.001  # seconds that resampling may add to a clip of the greatest length


def run(p: Experiment, archives: list[Path], manifest: Path, clips: Path) -> None:
    """Write the manifest and ``<id>.flac`` of every clip that the experiment takes.

    Silence at both ends is cut off. Both domains get the same low-pass at the same rate, so that neither can be told by its
    bandwidth. Levels are as recorded, but for clips that would be above full scale, which are scaled down as a whole.

    Raises CorpusError when a corpus is missing, damaged or broken, a split would be empty, or anything leaks.
    """
    settings = p.corpora
    pool = selection.without_leaks(candidates(settings, {path.stem: path for path in archives}))
    clips.mkdir(parents=True, exist_ok=True)
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    seen: set[str] = set()
    # The test split comes first: of two clips that turn out to be the same audio, training loses its one.
    for split in selection.PRIORITY:
        for domain in DOMAINS:
            limit = getattr(getattr(settings, split), domain)
            chosen = selection.ordered([c for c in pool if (c.split, c.domain) == (split, domain)], p.seed)
            total = len(chosen) if limit is None else min(limit, len(chosen))
            written = _write(chosen, settings, clips, limit, seen)
            rows[split, domain] = list(track(written, f"prepare: {split} {domain}", total=total, unit="clip"))
            if not rows[split, domain]:
                raise CorpusError(
                    f"no {domain} clip of {settings.min_seconds}-{settings.max_seconds} s for the {split} split in "
                    f"{', '.join(settings.sources)}: add recordings, or change corpora.sources, min_seconds or max_seconds"
                )
    found = [row for split in manifests.SPLITS for domain in DOMAINS for row in rows[split, domain]]
    table = pd.DataFrame(found, columns=list(manifests.COLUMNS))
    manifests.check(table, str(manifest))
    write_table(manifest, table)
    for (split, domain), rows_ in table.groupby(["split", "domain"]):
        print(f"prepare: {split} {domain}: {len(rows_)} clips, {rows_.seconds.sum() / 60:.1f} min", file=sys.stderr)


def candidates(settings: Corpora, archives: dict[str, Path]) -> list[Clip]:
    """Every clip of the configured corpora that is ``min_seconds`` to ``max_seconds`` long by its header."""
    readers: dict[str, Callable[[], list[Clip]]] = {
        "queen": lambda: queen.clips(archives, settings),
        "game_sounds": lambda: game_sounds.clips(archives, settings),
        "folder": lambda: folder.clips(Path(str(settings.folder_csv)), settings),
    }
    kept = []
    for source in settings.sources:
        found = readers[source]()
        fitting = [clip for clip in found if _fits(clip.seconds, settings)]
        print(f"prepare: {source}: {len(fitting)} of {len(found)} clips are of a usable length", file=sys.stderr)
        kept += fitting
    return kept


def _write(chosen: list[Clip], settings: Corpora, folder: Path, limit: int | None, seen: set[str]) -> Iterator[dict[str, Any]]:
    """Decode and write clips until ``limit`` are written; yields their rows. ``seen`` collects the hashes of all audio."""
    count = 0
    for clip in chosen:
        if count == limit:
            return
        wave, rate = clip.decode()
        wave = files.band_limit(files.resample(wave, rate, settings.sample_rate), settings.sample_rate, settings.bandwidth_hz)
        part = files.sounding(wave, settings.sample_rate, SILENCE)
        wave = wave[part]
        seconds = len(wave) / settings.sample_rate
        if not _fits(seconds, settings):
            continue
        data = files.flac(wave, settings.sample_rate, clip.id)
        digest = hashlib.sha256(data).hexdigest()
        if digest in seen and not clip.fixed:
            continue
        seen.add(digest)
        count += 1
        (folder / f"{clip.id}.flac").write_bytes(data)
        measured = {
            "start": clip.start + part.start / settings.sample_rate,
            "seconds": seconds,
            "sample_rate": settings.sample_rate,
            "sha256": digest,
        }
        yield {name: measured[name] if name in measured else getattr(clip, name) for name in manifests.COLUMNS}


def _fits(seconds: float, settings: Corpora) -> bool:
    return settings.min_seconds <= seconds <= settings.max_seconds + ROUNDING
