"""The published spread of an experiment: from the results of the same experiment run with other seeds."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from agrepa.artifacts.files import sha256, write_json
from agrepa.errors import ArtifactError
from agrepa.pipeline import likeness
from agrepa.pipeline.lineage import CARD
from agrepa.pipeline.provenance import provenance
from agrepa.pipeline.verify import SPREAD, run_in
from agrepa.reporting.spread import spread


def write_spread(root: Path, name: str, folders: list[Path]) -> Path:
    """Write results/<name>/spread.csv, and beside it a run card.

    Args:
        root: the top of the repository.
        name: of the experiment.
        folders: scores folders, e.g. ``results/demo/scores``, of runs that differ in ``seed`` and ``seeds``. The experiment's
            own may be one of them.

    Raises ArtifactError for fewer than two, one that was not run, two with one seed, or params that differ in more than seeds.
    """
    place = root / "results" / name
    own = likeness.params(run_in(place)[1])
    runs: list[pd.DataFrame] = []
    taken: dict[str, Path] = {}
    inputs: dict[str, str] = {}
    for folder in folders:
        if folder.name != "scores":
            raise ArtifactError(f"{folder} is no scores folder: name results/<experiment>/scores of a run")
        scores, cards = run_in(folder.parent)
        params = likeness.params(cards)
        if differ := likeness.different(likeness.seedless(own), likeness.seedless(params)):
            raise ArtifactError(
                f"{folder} has other params than {place}, so that more than seeds sets them apart; run it with the same but for "
                "the values of seed and seeds:\n  " + "\n  ".join(differ)
            )
        seeds = [f"seed {params['seed']}", *(f"training seed {seed}" for seed in params["seeds"])]
        for said in seeds:
            if said in taken:
                raise ArtifactError(f"{folder} has {said} as {taken[said]} has: run it with other values of seed and seeds")
            taken[said] = folder
        runs.append(scores)
        inputs[f"scores.csv of {', '.join(seeds)}"] = sha256(folder / "scores.csv")
    path = place / SPREAD
    spread(runs).to_csv(path, index=False, lineterminator="\n")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record: dict[str, Any] = {"stage": "spread", "does": "The spread of every metric over runs with other seeds.", "seed": None}
    record |= {"params": likeness.seedless(own), "inputs": inputs, "outputs": {f"results/{name}/{SPREAD}": sha256(path)}}
    write_json(path.with_name(SPREAD + CARD), record | {"started": now, "seconds": 0, **provenance()})
    return path
