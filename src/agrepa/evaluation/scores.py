"""One table of every metric of every row: seeds pooled, with the paired difference to the base arm."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from agrepa.artifacts.files import read_json, read_table, write_json
from agrepa.corpora.manifest import UNSEEN
from agrepa.errors import ArtifactError
from agrepa.evaluation.rows import ANCHORS, BASE, CONTROLS, ordered
from agrepa.evaluation.statistics import Estimate, ratio
from agrepa.job import Ins, Out

if TYPE_CHECKING:
    from agrepa.params.stages import ScoresSettings

PLACE = re.compile(r"(?P<row>[a-z0-9_]+)/seed(?P<seed>\d+)/(?P<file>[a-z0-9_]+)\.json$")
NUMBERS = ["value", "low", "high"]
DIFFERENCES = ["difference", "difference_low", "difference_high", "difference_p"]
COLUMNS = ["row", "metric", *NUMBERS, "n", "unit", "seeds", *DIFFERENCES, "card"]
PAIR_COLUMNS = ["first", "second", "metric", "difference", "low", "high", "p", "n", "unit"]
OVER_SEEDS = "sd"  # of pairs.csv, where there are several seeds: the deviation of one seed's difference
LOSS = re.compile(r"(?P<row>[a-z0-9_]+)/seed(?P<seed>\d+)/validation\.parquet$")
FLOW_LOSS = "flow_loss"


@dataclass(frozen=True)
class Ratio:
    """A metric that is a ratio of sums over utterances: which columns, and the factor to its unit.

    Attributes:
        each: the ratio is taken of each utterance and averaged over them.
        signed: it may be negative.
    """

    numerator: str
    denominator: str | None
    factor: float
    each: bool = False
    signed: bool = False


RATIOS = {
    "wer": Ratio("word_errors", "words", 100),
    "cer": Ratio("char_errors", "chars", 100),
    "uer": Ratio("errors", "units", 100),
    "wer_ctc": Ratio("word_errors", "words", 100),
    "cer_ctc": Ratio("char_errors", "chars", 100),
    "sim_o": Ratio("similarity", None, 1, signed=True),
    "wer_utterance": Ratio("word_errors", "words", 100, each=True),
    FLOW_LOSS: Ratio("loss", None, 1),
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
Estimates = dict[str, tuple[Estimate, list[str]]]  # row -> its estimate, and what clips it is of


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
        trained_only = metric.endswith(FLOW_LOSS)
        for row in rows:
            if trained_only and row in (*ANCHORS, *CONTROLS):
                continue
            have = [measured.seed for measured in found.get(row, [])]
            if row in ANCHORS:
                if len(have) != 1:
                    raise ArtifactError(f"{row} has {metric} of {len(have)} seeds instead of one: run its metrics")
            elif have != sorted(seeds):
                raise ArtifactError(f"{row} has {metric} of seeds {have} instead of {sorted(seeds)}: run its metrics")


def kind(metric: str) -> str:
    """A metric's name without its domain and its list."""
    return metric.split("_", 1)[1].removesuffix(f"_{UNSEEN}")


def add_losses(metrics: Metrics, losses: list[Path]) -> None:
    """Validation losses of the arms, clip by clip, as further metrics; those of the main list of speech."""
    for path in losses:
        place = LOSS.search(path.as_posix())
        if place is None:
            raise ArtifactError(f"{path}: validation losses lie at arms/<arm>/seed<seed>/validation.parquet")
        measured = Measured(path.with_name("checkpoint.safetensors"), path, place["row"], int(place["seed"]))
        for domain in measured.utterances.domain.unique():
            metrics.setdefault(f"{domain}_{FLOW_LOSS}", {}).setdefault(measured.row, []).append(measured)
    for rows in metrics.values():
        for files in rows.values():
            files.sort(key=lambda measured: measured.seed)


def ratio_estimate(metric: str, files: list[Measured]) -> tuple[Estimate, list[str]]:
    """A ratio metric of a row, a value of each seed, and the clips that it is of.

    Raises ArtifactError when the seeds have different clips.
    """
    domain, wanted = metric.split("_", 1)[0], RATIOS[kind(metric)]
    tables = []
    for measured in files:
        table = measured.utterances
        chosen = table.domain == domain
        if "listing" in table:
            chosen &= (table.listing == UNSEEN) == metric.endswith(UNSEEN)
        tables.append(table[chosen].sort_values("clip", ignore_index=True))
    clips = tables[0]["clip"].tolist()
    for measured, table in zip(files, tables, strict=True):
        if table["clip"].tolist() != clips:
            raise ArtifactError(f"{measured.table} has other clips than {files[0].table}: run the stages of both again")
    up = np.stack([table[wanted.numerator].to_numpy(np.float64) for table in tables])
    down = np.ones_like(up)
    if wanted.denominator is not None:
        down = np.stack([table[wanted.denominator].to_numpy(np.float64) for table in tables])
    if wanted.each:
        up, down = up / down, np.ones_like(up)
    return ratio(up, down, tables[0].family.tolist()).scaled(wanted.factor), clips


def distance_estimate(metric: str, files: list[Measured]) -> tuple[Estimate, list[str]]:
    """A distance of a row, a value of each seed, and the hash of its clips. All rows and seeds leave out the same clips.

    Raises ArtifactError when the seeds have different clips.
    """
    entries = [measured.entries[metric] for measured in files]
    for measured, entry in zip(files, entries, strict=True):
        if entry["clips"] != entries[0]["clips"]:
            raise ArtifactError(f"{measured.path} has other clips than {files[0].path}: run the stages of both again")
    found = Estimate(
        np.array([entry["value"] for entry in entries]),
        np.array([entry["deviations"] for entry in entries]),
        entries[0]["n"],
        entries[0]["clusters"],
        entries[0]["unit"],
        entries[0]["freedom"],
    )
    return found, [entries[0]["clips"]]


def estimates(metric: str, found: dict[str, list[Measured]]) -> Estimates:
    """What a metric is in each row, and of which clips."""
    estimate = ratio_estimate if kind(metric) in RATIOS else distance_estimate
    return {row: estimate(metric, files) for row, files in found.items()}


def scored(metric: str, found: Estimates, bases: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Scores of a metric by row: the mean over seeds with its interval, and the paired difference to Base.

    Args:
        bases: arm -> Base on the arm's backbone; rows that are no arms are held against BASE.
    """
    ratio_of = RATIOS.get(kind(metric))
    result = {}
    for row, (mine, clips) in found.items():
        own = mine.interval(positive=ratio_of is not None and not ratio_of.signed)
        scores: dict[str, Any] = {"value": own.value, "low": own.low, "high": own.high, "n": own.n, "unit": own.unit}
        # Anchors are not trained: their one value stands beside every seed of Base.
        base = found.get(bases.get(row, BASE))
        if base is not None and row != bases.get(row, BASE) and clips == base[1]:
            gap = (mine - base[0]).interval()
            scores |= dict(zip(DIFFERENCES, (gap.value, gap.low, gap.high, gap.p), strict=True))
        result[row] = scores
    return result


def paired(metric: str, found: Estimates, bases: dict[str, str]) -> list[dict[str, str]]:
    """Differences of a metric between every two aligned arms on one backbone, first less second.

    Those to Base stand with the scores.
    """
    lines = []
    aligned = [arm for arm in bases if arm != bases[arm] and arm in found]
    for first, second in ((one, other) for one, other in combinations(aligned, 2) if bases[one] == bases[other]):
        (one, clips), (other, others) = found[first], found[second]
        if clips == others:
            between = one - other
            gap = between.interval()
            numbers = zip(("difference", "low", "high", "p", "n"), (gap.value, gap.low, gap.high, gap.p, gap.n), strict=True)
            line = {"first": first, "second": second, "metric": metric, "unit": gap.unit}
            if len(between.values) > 1:
                line[OVER_SEEDS] = rounded(float(between.values.std(ddof=1)))
            lines.append(line | {name: rounded(number) for name, number in numbers})
    return lines


def rounded(value: float | int | None) -> str:
    """Six significant digits; empty where there is no number."""
    return "" if value is None else f"{value:.6g}"


def run(
    p: ScoresSettings, *, metrics: Ins, utterances: Ins, losses: Ins, out: Out, pairs: Out, values: Out, transcripts: Out
) -> None:
    """Gather every metric of every row into one table, with intervals and differences to Base.

    Writes scores.csv, one line a row and metric; pairs.csv, the differences between arms neither of which is Base, with their
    deviation over seeds where there are several; the values alone as JSON, row -> metric -> value, which `dvc metrics` reads; and
    transcripts.csv, what was said and how it was transcribed.

    Args:
        metrics: all ``metrics/<row>/seed<seed>/<metric>.json``.
        utterances: the table behind each of them, in the same order.
        losses: all ``arms/<arm>/seed<seed>/validation.parquet``.

    Raises ArtifactError when a row of the experiment lacks a metric or a seed.
    """
    arranged = arrange(metrics, utterances)
    add_losses(arranged, losses)
    rows = ordered(p.arms)
    check_complete(arranged, rows, list(p.seeds))
    lines, between = [], []
    for metric, found in sorted(arranged.items()):
        estimated = estimates(metric, found)
        between += paired(metric, estimated, p.bases)
        for row, numbers in scored(metric, estimated, p.bases).items():
            line = {name: rounded(numbers.get(name)) for name in (*NUMBERS, "n", *DIFFERENCES)} | {"unit": numbers["unit"]}
            card = " ".join(f"{measured.path.as_posix()}.card.json" for measured in found[row])
            lines.append({"row": row, "metric": metric, **line, "seeds": str(len(found[row])), "card": card})
    table = pd.DataFrame(lines, columns=COLUMNS)
    table = table.iloc[np.lexsort((table.metric, table.row.map(rows.index)))]
    table.to_csv(out, index=False, lineterminator="\n")
    pair_columns = [*PAIR_COLUMNS, OVER_SEEDS] if len(p.seeds) > 1 else PAIR_COLUMNS
    pd.DataFrame(between, columns=pair_columns).to_csv(pairs, index=False, lineterminator="\n")
    write_json(
        values, {row: {line.metric: float(line.value) for line in part.itertuples()} for row, part in table.groupby("row")}
    )
    heard = [measured.utterances.assign(row=row) for row in rows for measured in arranged.get("speech_wer", {}).get(row, [])]
    text = ["row", "seed", "clip", "speaker", "reference", "hypothesis"]
    said = pd.concat([part.sort_values("clip") for part in heard]) if heard else pd.DataFrame(columns=text)
    said[text].to_csv(transcripts, index=False, lineterminator="\n")
