"""Whether an experiment is complete and of one piece, by its run cards, whatever a batch system said of its jobs.

Snakemake takes a job for done when the batch system says so and the outputs are there. Where that word is wrong, outputs of an
earlier run pass for new ones. A run card says what its outputs were made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agrepa import params as schema
from agrepa.artifacts.files import read_json
from agrepa.errors import AgrepaError
from agrepa.params import Experiment
from agrepa.pipeline import graph, keys
from agrepa.pipeline.dvc import STAGE_OF
from agrepa.pipeline.hashes import hash_of
from agrepa.pipeline.source import source_hash

SHOWN = 10


class IncompleteError(AgrepaError):
    """Jobs that have not run, or not on what there is now."""


def check(params: Path) -> str:
    """Compare every job's run card with the experiment as it is now; returns how many jobs there are.

    Raises IncompleteError that lists the jobs which have no card, miss an output, or were made with other parameters, other code
    or other inputs.
    """
    experiment, jobs = schema.load(params), graph.listed(params)
    cards = {path: read_json(path) for found in jobs.values() for path in found if path.exists()}
    written = {name: digest for card in cards.values() for name, digest in card["outputs"].items()}
    problems = []
    for rule, found in jobs.items():
        for path, wildcards in found.items():
            stage = STAGE_OF.get(rule, rule)
            wrong = _wrong(cards[path], stage, wildcards, experiment, written) if path in cards else iter(["has no run card"])
            if first := next(wrong, None):
                problems.append(f"{' '.join([rule, *wildcards.values()])} {first} ({path})")
    if problems:
        more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise IncompleteError(
            f"{len(problems)} of the jobs of {params} are not what they should be: delete these run cards and run it again\n"
            + "\n".join(problems[:SHOWN])
            + more
        )
    return f"all {sum(map(len, jobs.values())):,} jobs of {params} ran on what there is now"


def _wrong(
    card: dict[str, Any], stage: str, wildcards: dict[str, str], experiment: Experiment, written: dict[str, str]
) -> Iterator[str]:
    """What is wrong with a run card, in words."""
    yield from (f"has not left {name}" for name in card["outputs"] if not Path(name).exists())
    reads = json.loads(json.dumps(keys.values(stage, experiment, wildcards)))
    if card["params"] != reads:
        changed = sorted(key for key in reads.keys() | card["params"].keys() if reads.get(key) != card["params"].get(key))
        yield f"was made with another {', '.join(changed)}"
    if card["source"] != source_hash(stage, experiment, wildcards):
        yield "was made by other code"
    for name, digest in card["inputs"].items():
        now = written.get(name) or (hash_of(Path(name)) if Path(name).exists() else None)
        if now != digest:
            yield f"was made of another {name}" if now else f"was made of {name}, which is missing"
