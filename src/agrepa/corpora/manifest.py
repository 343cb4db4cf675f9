"""The manifest: one row per clip, what it must fulfil, and the lists and waveforms that are taken from it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from agrepa.artifacts.files import read_table
from agrepa.audio import files
from agrepa.corpora.clip import plain
from agrepa.domains import DOMAINS
from agrepa.errors import CorpusError

COLUMNS = {
    "id": str,
    "corpus": str,
    "domain": str,
    "split": str,
    "file": str,
    "start": float,
    "seconds": float,
    "sample_rate": int,
    "text": str,
    "speaker": str,
    "label": str,
    "family": str,
    "sha256": str,
    "licence": str,
    "attribution": str,
    "listing": str,
    "prompt": str,
    "clip": str,
}
SPLITS = ("train", "validation", "test")
MAIN, UNSEEN = "main", "unseen"  # the lists of evaluated speech: by utterance, and of speakers that training never hears
PROMPT = "prompt"  # the list of what is not evaluated itself and prompts what is
Rows = TypeVar("Rows", pd.DataFrame, pd.Series)
SHOWN = 20  # offenders that a message lists


def read(path: Path) -> pd.DataFrame:
    """The rows of a manifest in their order: split, domain, seeded shuffle.

    Raises ArtifactError when the file is missing or damaged, CorpusError when columns are missing.
    """
    table = read_table(path)
    if missing := [column for column in COLUMNS if column not in table]:
        raise CorpusError(f"{path}: the manifest has no column {', '.join(missing)}: delete it and run its stage again")
    return table


def check(table: pd.DataFrame, name: str = "manifest") -> None:
    """Make sure that a manifest keeps its contract and that nothing leaks between splits.

    Ids are unique, speech has a transcript, evaluated speech is on a list, its prompt is there, and no audio (hash of the
    clip, which is lossless), transcript (``plain``), speaker or family occurs in two splits, but for speakers of main lists
    (see ``leaks``).

    Raises CorpusError that lists the offenders.
    """
    problems = []
    if missing := [column for column in COLUMNS if column not in table]:
        raise CorpusError(f"{name}: no column {', '.join(missing)}")
    for column, kind in COLUMNS.items():
        if table[column].isna().any() or not table[column].map(lambda value, kind=kind: isinstance(value, kind)).all():
            problems.append(f"column {column!r} has values that are missing or not {kind.__name__}")
    if problems:
        raise CorpusError(f"{name}: " + "; ".join(problems))
    for column, known in (("domain", DOMAINS), ("split", SPLITS)):
        odd = table[~table[column].isin(known)]
        problems += [f"{i}: {column} {v!r} is none of {', '.join(known)}" for i, v in zip(odd.id, odd[column], strict=True)]
    for identity, rows in table.groupby("id"):
        if len(rows) > 1:
            problems.append(f"id {identity!r} stands for {len(rows)} clips")
        if not re.fullmatch(r"[a-z0-9_]+", str(identity)) or not str(identity).startswith(str(rows.corpus.iloc[0])):
            problems.append(f"id {identity!r} must be of a-z, 0-9 and _ and start with the corpus, {rows.corpus.iloc[0]!r}")
    evaluated = (table.domain == "speech") & (table.split != "train")
    odd = table[table.listing.isin([MAIN, UNSEEN, PROMPT]) != evaluated]
    problems += [
        f"{row.id}: listing {row.listing!r}: evaluated speech is on a list and nothing else is" for row in odd.itertuples()
    ]
    spoken = set(table.id[table.domain == "speech"])
    prompted = table[table.prompt != ""]
    problems += [
        f"{row.id}: prompt {row.prompt!r} is no other utterance of the manifest"
        for row in prompted.itertuples()
        if row.prompt == row.id or row.prompt not in spoken
    ]
    wordless = table.id[(table.domain == "speech") & (table.text.map(plain) == "")]
    problems += [f"{identity}: speech without a transcript" for identity in wordless]
    impossible = table[(table.seconds <= 0) | (table.start < 0)]
    problems += [f"{row.id}: starts at {row.start} s and is {row.seconds} s long" for row in impossible.itertuples()]
    problems += leaks(table)
    if problems:
        more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CorpusError(f"{name}: {len(problems)} problems:\n" + "\n".join(problems[:SHOWN]) + more)


def leaks(table: pd.DataFrame) -> list[str]:
    """What occurs in more than one split, one line each.

    Speakers and families may be in the training split and on main lists, which are by utterance; never on an unseen one too.
    """
    found = []
    values = {
        "audio": table.sha256,
        "transcript": table.text.map(plain),
        "speaker": table.speaker,
        "family": table.family,
    }
    for kind, column in values.items():
        for value, rows in table[column != ""].groupby(column[column != ""]):
            first = rows.groupby("split").id.first()
            by_utterance = kind in ("speaker", "family") and ((rows.domain == "speech") & (rows.listing != UNSEEN)).all()
            if len(first) > 1 and not by_utterance:
                where = ", ".join(f"{clip} ({split})" for split, clip in first.items())
                found.append(f"{kind} {str(value)[:60]!r} is in more than one split: {where}: keep it in one")
    return found


def evaluation_list(table: pd.DataFrame, split: str, domain: str, n: int, listing: str = MAIN) -> list[str]:
    """Ids of the first ``n`` clips of a domain in a split: always the same ones, and the first of any longer list.

    Args:
        listing: which list of speech; general audio has one, the main one.

    Raises CorpusError when there are fewer.
    """
    listed = (table.listing != PROMPT) & ((table.listing == UNSEEN) == (listing == UNSEEN))
    ids = table.id[(table.split == split) & (table.domain == domain) & listed].tolist()
    if len(ids) < n:
        name, key = ("unseen speech", "unseen") if listing == UNSEEN else (domain, domain)
        raise CorpusError(
            f"{n} {name} clips of the {split} split are asked for and it has {len(ids)}: "
            f"ask for fewer in the params, or raise corpora.{split}.{key} or add recordings"
        )
    return ids[:n]


def evaluation_lists(table: pd.DataFrame, split: str, speech: int, unseen: int, audio: int) -> dict[str, list[str]]:
    """What every row is made of: ids of the main list of speech, of the ``unseen`` one, and of general audio."""
    counts = {"speech": ("speech", speech, MAIN), UNSEEN: ("speech", unseen, UNSEEN), "audio": ("audio", audio, MAIN)}
    return {key: evaluation_list(table, split, domain, n, listing) for key, (domain, n, listing) in counts.items()}


def shard(table: Rows, k: int, n: int) -> Rows:
    """Rows ``[k::n]``, with a fresh index.

    Raises CorpusError unless 0 <= k < n.
    """
    if not 0 <= k < n:
        raise CorpusError(f"shard {k} of {n}: shards count from 0 to {n - 1}")
    return table.iloc[k::n].reset_index(drop=True)


def wave(row: Any, expected_rate: int) -> np.ndarray:
    """The samples of a clip, float32 ``[N]`` within [-1, 1].

    Args:
        row: of the manifest, as ``itertuples`` gives it: its ``clip`` is the file and its ``sha256`` the content.
        expected_rate: sample rate in Hz that the file must have.

    Raises CorpusError when the file is missing or is not the one that the manifest names, AudioError when it has another rate.
    """
    path = Path(row.clip)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"{path}: the clip {row.id} of the manifest is missing: run the decode stage again") from None
    found = hashlib.sha256(data).hexdigest()
    if found != row.sha256:
        raise CorpusError(
            f"{path}: the clip {row.id} has SHA-256 {found} and the manifest says {row.sha256}: delete its folder and run the "
            "decode and manifest stages again"
        )
    return files.read(data, str(path), expected_rate)[0]
