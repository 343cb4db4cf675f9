"""One table of every metric of every row: seeds pooled, with the paired difference to the base arm."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from agrepa.artifacts.files import read_json, read_table, write_json
from agrepa.errors import ArtifactError
from agrepa.evaluation.rows import ANCHORS, BASE, ordered
from agrepa.evaluation.statistics import cluster_bootstrap, margin, paired_difference
from agrepa.job import Ins, Out

if TYPE_CHECKING:
    from agrepa.params.stages import ScoresSettings

PLACE = re.compile(r"(?P<row>[a-z0-9_]+)/seed(?P<seed>\d+)/(?P<file>[a-z0-9_]+)\.json$")
NUMBERS = ["value", "low", "high"]
DIFFERENCES = ["difference", "difference_low", "difference_high"]
COLUMNS = ["row", "metric", *NUMBERS, "n", "seeds", *DIFFERENCES, "card"]


@dataclass(frozen=True)
class Ratio:
    """A metric that is a ratio of sums over utterances: which columns, and the factor to its unit."""

    numerator: str
    denominator: str | None
    factor: float


RATIOS = {
    "wer": Ratio("word_errors", "words", 100),
    "cer": Ratio("char_errors", "chars", 100),
    "uer": Ratio("errors", "units", 100),
    "mos_distill": Ratio("mos", None, 1),
}


@dataclass(frozen=True)
class Measured:
    """One metric file of one row and seed, with its table of utterances."""

    path: Path
    table: Path
    row: str
    seed: int

    @cached_property
    def entries(self) -> dict[str, Any]:
        return read_json(self.path)

    @cached_property
    def utterances(self) -> pd.DataFrame:
        return read_table(self.table).assign(seed=self.seed)


Metrics = dict[str, dict[str, list[Measured]]]  # metric -> row -> one of each seed


def arrange(paths: list[Path], utterances: list[Path]) -> Metrics:
    """Files by metric, row and seed.

    Args:
        utterances: the table behind each of ``paths``, in the same order.

    Raises ArtifactError when the lists differ in length or a path does not end in ``<row>/seed<seed>/<metric>.json``.
    """
    if len(paths) != len(utterances):
        raise ArtifactError(f"{len(paths)} metrics and {len(utterances)} tables of utterances: name one table for each metric")
    metrics: Metrics = {}
    for path, table in zip(paths, utterances, strict=True):
        place = PLACE.search(path.as_posix())
        if place is None:
            raise ArtifactError(
                f"{path}: a metric lies at metrics/<row>/seed<seed>/<metric>.json; this path does not say whose it is"
            )
        measured = Measured(path, table, place["row"], int(place["seed"]))
        for metric in measured.entries:
            metrics.setdefault(metric, {}).setdefault(measured.row, []).append(measured)
    for rows in metrics.values():
        for files in rows.values():
            files.sort(key=lambda measured: measured.seed)
    return metrics


def check_complete(metrics: Metrics, rows: list[str], seeds: list[int]) -> None:
    """ArtifactError when an arm or the control lacks a metric or a seed that another has, or a row is unknown."""
    for metric, found in metrics.items():
        unknown = sorted(set(found) - set(rows))
        if unknown:
            raise ArtifactError(f"{found[unknown[0]][0].path}: row {unknown[0]!r} is not in this experiment: name its rows only")
        for row in rows:
            have = [measured.seed for measured in found.get(row, [])]
            if row in ANCHORS:
                if len(have) != 1:
                    raise ArtifactError(f"{row} has {metric} of {len(have)} seeds instead of one: run its metrics")
            elif have != sorted(seeds):
                raise ArtifactError(f"{row} has {metric} of seeds {have} instead of {sorted(seeds)}: run its metrics")


def pooled(metric: str, files: list[Measured]) -> pd.DataFrame:
    """Utterances of all seeds, sorted by seed and clip, with the metric's numerator and denominator."""
    domain, name = metric.split("_", 1)
    ratio = RATIOS[name]
    table = pd.concat([measured.utterances for measured in files], ignore_index=True)
    table = table[table.domain == domain].sort_values(["seed", "clip"], ignore_index=True)
    denominator = np.ones(len(table)) if ratio.denominator is None else table[ratio.denominator]
    return table.assign(numerator=table[ratio.numerator], denominator=denominator)


def ratio_scores(metric: str, found: dict[str, list[Measured]], samples: int, seed: int) -> dict[str, dict[str, float | None]]:
    """Scores of a ratio by row. Seeds are pooled and families resampled with all their seeds."""
    factor, result = RATIOS[metric.split("_", 1)[1]].factor, {}
    base = pooled(metric, found[BASE]) if BASE in found else None
    for row, files in found.items():
        mine = pooled(metric, files)
        interval = cluster_bootstrap(mine.numerator, mine.denominator, list(mine.family), samples, seed).scaled(factor)
        scores = {"value": interval.value, "low": interval.low, "high": interval.high, "n": mine["clip"].nunique()}
        if base is not None and row != BASE and mine[["seed", "clip"]].equals(base[["seed", "clip"]]):
            both = mine.numerator, mine.denominator, base.numerator, base.denominator, list(mine.family)
            difference = paired_difference(*both, samples, seed).scaled(factor)
            scores |= dict(zip(DIFFERENCES, (difference.value, difference.low, difference.high), strict=True))
        result[row] = scores
    return result


def distance_scores(metric: str, found: dict[str, list[Measured]]) -> dict[str, dict[str, float | None]]:
    """Scores of a FAD by row: the mean over seeds.

    All rows and seeds were halved alike, so deviations are averaged over seeds, and subtracted between rows, half by half.
    """
    result = {}
    base = [measured.entries[metric] for measured in found.get(BASE, [])]
    for row, files in found.items():
        mine = [measured.entries[metric] for measured in files]
        value = float(np.mean([entry["value"] for entry in mine]))
        deviations = _mean_deviations(mine)
        scores: dict[str, float | None] = {"value": value, **_bounds(("low", "high"), value, deviations), "n": mine[0]["n"]}
        if base and row != BASE and {entry["clips"] for entry in mine} == {entry["clips"] for entry in base}:
            difference = value - float(np.mean([entry["value"] for entry in base]))
            other = _mean_deviations(base)
            both = None if deviations is None or other is None else deviations - other
            scores |= {"difference": difference, **_bounds(DIFFERENCES[1:], difference, both)}
        result[row] = scores
    return result


def _mean_deviations(entries: list[dict[str, Any]]) -> np.ndarray | None:
    if any("deviations" not in entry for entry in entries):
        return None
    return np.mean([entry["deviations"] for entry in entries], axis=0)


def _bounds(names: tuple[str, ...] | list[str], value: float, deviations: np.ndarray | None) -> dict[str, float | None]:
    half = None if deviations is None else margin(deviations)
    return dict.fromkeys(names) if half is None else {names[0]: value - half, names[1]: value + half}


def rounded(value: float | int | None) -> str:
    """Six significant digits; empty where there is no number."""
    return "" if value is None else f"{value:.6g}"


def run(p: ScoresSettings, *, metrics: Ins, utterances: Ins, out: Out, values: Out, transcripts: Out) -> None:
    """Gather every metric of every row into one table, with intervals and differences to Base.

    Writes scores.csv, one line a row and metric; its values alone as JSON, row -> metric -> value, which `dvc metrics` reads;
    and transcripts.csv, what was said and how it was transcribed.

    Args:
        metrics: all ``metrics/<row>/seed<seed>/<metric>.json``.
        utterances: the table behind each of them, in the same order.

    Raises ArtifactError when a row of the experiment lacks a metric or a seed.
    """
    arranged = arrange(metrics, utterances)
    rows = ordered(p.arms)
    check_complete(arranged, rows, list(p.seeds))
    lines = []
    for metric, found in arranged.items():
        known = metric.split("_", 1)[1] in RATIOS
        scores = ratio_scores(metric, found, p.bootstrap, p.seed) if known else distance_scores(metric, found)
        for row, numbers in scores.items():
            line = {name: rounded(numbers.get(name)) for name in (*NUMBERS, "n", *DIFFERENCES)}
            card = " ".join(f"{measured.path.as_posix()}.card.json" for measured in found[row])
            lines.append({"row": row, "metric": metric, **line, "seeds": str(len(found[row])), "card": card})
    table = pd.DataFrame(lines, columns=COLUMNS)
    table = table.iloc[np.lexsort((table.metric, table.row.map(rows.index)))]
    table.to_csv(out, index=False, lineterminator="\n")
    write_json(
        values, {row: {line.metric: float(line.value) for line in part.itertuples()} for row, part in table.groupby("row")}
    )
    heard = [measured.utterances.assign(row=row) for row in rows for measured in arranged.get("speech_wer", {}).get(row, [])]
    text = ["row", "seed", "clip", "speaker", "reference", "hypothesis"]
    said = pd.concat([part.sort_values("clip") for part in heard]) if heard else pd.DataFrame(columns=text)
    said[text].to_csv(transcripts, index=False, lineterminator="\n")
