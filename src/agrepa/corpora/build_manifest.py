"""The manifest stage: of the decoded candidates, the clips that the experiment takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from agrepa.artifacts.files import read_table, write_table
from agrepa.corpora import manifest as manifests
from agrepa.corpora import tolerance
from agrepa.corpora.clip import fits
from agrepa.domains import DOMAINS
from agrepa.errors import ArtifactError, CorpusError
from agrepa.job import In, Ins, Out

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora
    from agrepa.params.stages import CorporaSettings


def run(p: CorporaSettings, *, candidates: In, rows: Ins, out: Out) -> None:
    """Gather the decoded clips into one manifest.

    In the candidates' order, each list of each split takes those that are long enough without silence and whose audio no clip
    before has, until it has as many as the params ask for. The prompts of those that are taken follow.

    Raises ArtifactError when a candidate was not decoded, CorpusError when the candidates are too few, more of a source could
    not be read than it tolerates, a prompt cannot be used, or anything leaks.
    """
    table = _measured(read_table(candidates), rows)
    for name, part in table.groupby("source"):
        broken = part[part.problem != ""]
        problems = list(zip(broken.file, broken.problem, strict=True))
        tolerance.check(str(name), p.corpora.sources[str(name)], problems, len(part), f"{rows[0].parent}, column problem,")
    seen: set[str] = set()
    evaluated = table[table.listing != manifests.PROMPT]
    lists = [*map(tuple, evaluated[["split", "domain", "listing"]].drop_duplicates().to_numpy())]
    kept = {key: _taken(part, p.corpora, seen) for key, part in evaluated.groupby(["split", "domain", "listing"], sort=False)}
    # Splits and lists in their usual order; clips were chosen in the candidates', which puts the test split first.
    order = sorted(lists, key=lambda key: (manifests.SPLITS.index(key[0]), DOMAINS.index(key[1]), key[2]))
    chosen = [row for key in order for row in kept[key]]
    prompts = _prompts(table, chosen, p.corpora)
    table.loc[prompts, ["listing", "prompt"]] = manifests.PROMPT, ""
    chosen += prompts
    result = table.loc[chosen, list(manifests.COLUMNS)].reset_index(drop=True)
    manifests.check(result, str(out))
    write_table(out, result)
    for (split, domain, listing), part in result.groupby(["split", "domain", "listing"]):
        print(
            f"manifest: {' '.join(filter(None, (split, listing, domain)))}: {len(part)} clips, {part.seconds.sum() / 60:.1f} min",
            file=sys.stderr,
        )


def _measured(candidates: pd.DataFrame, rows: list[Path]) -> pd.DataFrame:
    """The candidates with what decoding found out about each, in their order."""
    tables = []
    for path in rows:
        table = read_table(path)
        # The table names its clips, with their hashes, relative to the folder that both are in.
        if table.empty:  # of fewer blocks than shards; its columns have no types
            continue
        tables.append(table.assign(clip=[str(path.parent / clip) if clip else "" for clip in table["clip"]]))
    decoded = pd.concat(tables).set_index("id")
    if missing := sorted(set(candidates.id) ^ set(decoded.index)):
        raise ArtifactError(
            f"{rows[0]}: the decoded clips are not those of the candidates, {missing[0]} and {len(missing) - 1} others are only "
            "in one of them: run the decode stage again"
        )
    measured = decoded.loc[candidates.id].reset_index(drop=True)
    return candidates.assign(**{column: measured[column] for column in measured})


def _prompts(table: pd.DataFrame, chosen: list[int], settings: Corpora) -> list[int]:
    """Index of the rows that prompt chosen ones and are not chosen themselves."""
    needed = set(table.prompt[chosen]) - {"", *table.id[chosen]}
    found = table[table.id.isin(needed)]
    if lost := sorted(needed - {row.id for row in found.itertuples() if fits(row.seconds, settings)}):
        raise CorpusError(
            f"{len(lost)} prompts of evaluated clips cannot be used, the first is {lost[0]}: they are no candidates, cannot be "
            f"read, or are not of {settings.min_seconds}-{settings.max_seconds} s without silence: change these limits, or "
            "remove their lines from pairs"
        )
    return found.index.tolist()


def _taken(part: pd.DataFrame, settings: Corpora, seen: set[str]) -> list[int]:
    """Index of the rows that one list of a split takes; ``seen`` collects the hashes of all audio."""
    split, left_out = part.split.iloc[0], int(part.left_out.iloc[0])
    domain = "unseen" if part.listing.iloc[0] == manifests.UNSEEN else part.domain.iloc[0]
    limit = getattr(getattr(settings, split), domain)
    taken: list[int] = []
    for row in part.itertuples():
        if len(taken) == limit:
            break
        if not fits(row.seconds, settings) or (row.sha256 in seen and not row.fixed):
            continue
        seen.add(row.sha256)
        taken.append(row.Index)
    if left_out and len(taken) < limit:
        raise CorpusError(
            f"of {len(part)} {domain} candidates of the {split} split {len(taken)} are usable and {limit} are asked for, and "
            f"{left_out} more were left out: raise corpora.reserve, which is {settings.reserve}"
        )
    if not taken:
        raise CorpusError(
            f"none of the {len(part)} {domain} candidates of the {split} split is of {settings.min_seconds}-"
            f"{settings.max_seconds} s without silence and unlike the others: add recordings, or change their limits"
        )
    return taken
