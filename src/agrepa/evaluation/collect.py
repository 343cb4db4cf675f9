"""What the tables and figures need besides scores: probes, selections and training curves, as small text files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from agrepa.artifacts.files import read_json, read_table, write_json
from agrepa.errors import ArtifactError
from agrepa.job import Ins, Out

if TYPE_CHECKING:
    from agrepa.params.stages import CollectSettings

CURVES = ["row", "seed", "step", "series", "value"]
TREND = ["seed", "step", "domain", "layer", "score", "rank_correlation"]
DIGITS = "%.6g"


def columns(path: Path, names: list[str]) -> pd.DataFrame:
    """The named columns of a parquet table; ArtifactError when it lacks one or has no rows."""
    table = read_table(path)
    missing = [name for name in names if name not in table]
    if missing or table.empty:
        what = f"lacks the columns {', '.join(missing)}" if missing else "has no rows"
        raise ArtifactError(f"{path} {what}: run the stage that writes it again")
    return table[names]


def gather(files: list[Path], key: str, out: Path) -> set[tuple[str, int]]:
    """Copy JSON files to ``seed<seed>/<name>.json`` in ``out``, as each says at ``seed`` and ``key``; returns all (name, seed).

    Raises ArtifactError when a file names nothing, or two files the same.
    """
    found: set[tuple[str, int]] = set()
    for file in files:
        data = read_json(file)
        name, seed = data.get(key), data.get("seed")
        if not isinstance(name, str) or not isinstance(seed, int):
            raise ArtifactError(f"{file} has no {key!r} with its 'seed': run the stage that writes it again")
        if (name, seed) in found:
            raise ArtifactError(f"{file} is a second file of {key} {name!r}, seed {seed}: name each input once")
        found.add((name, seed))
        write_json(out / f"seed{seed}" / f"{name}.json", data)
    return found


def write_validation(runs: pd.DataFrame, out: Path) -> None:
    """Validation flow-matching loss as one column a run, mean over seeds, which `dvc plots` draws."""
    losses = runs[runs.series == "validation_flow"]
    wide = losses.pivot_table(index="step", columns="row", values="value", aggfunc="mean", sort=False).sort_index()
    wide.to_csv(out, float_format=DIGITS, lineterminator="\n")


def run(
    p: CollectSettings,
    *,
    probes: Ins,
    selections: Ins,
    logs: Ins,
    trend: Ins,
    curves: Out,
    trend_csv: Out,
    probes_folder: Out,
    selections_folder: Out,
    validation: Out,
) -> None:
    """Gather probes, selections and training curves beside the scores, as CSV with six significant digits.

    Raises ArtifactError when an arm's selection or one of its training logs is not among the inputs.
    """
    trained = {(arm, int(seed)) for arm in p.arms for seed in p.seeds}
    gather(probes, "probe", probes_folder)
    if missing := trained - gather(selections, "arm", selections_folder):
        arm, seed = min(missing)
        raise ArtifactError(f"no selection was given for arm {arm!r} with seed {seed}: run the stage select for it")
    runs = pd.concat([columns(path, CURVES) for path in logs], ignore_index=True)
    if untrained := trained - set(zip(runs.row, runs.seed.astype(int), strict=True)):
        arm, seed = min(untrained)
        raise ArtifactError(f"no training log was given for arm {arm!r} with seed {seed}: run the stage train for it")
    # Runs in the order of the experiment; within a run, the order of its log.
    place = {"warmup": -1} | {arm: i for i, arm in enumerate(p.arms)}
    order = pd.DataFrame({"row": runs.row.map(place), "seed": runs.seed, "step": runs.step, "series": runs.series})
    order = order.sort_values(["row", "seed", "step", "series"]).index
    runs = runs.loc[order]
    runs.to_csv(curves, index=False, float_format=DIGITS, lineterminator="\n")
    write_validation(runs, validation)
    steps = pd.concat([columns(path, TREND) for path in trend]).sort_values(["seed", "domain", "layer", "step"])
    steps.to_csv(trend_csv, index=False, float_format=DIGITS, lineterminator="\n")
