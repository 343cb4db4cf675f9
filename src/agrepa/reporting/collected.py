"""Reads what an experiment collected: scores, probes and selections. Tables, figures and page are made from such files alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from agrepa.artifacts.files import read_json
from agrepa.domains import DOMAINS
from agrepa.errors import ArtifactError
from agrepa.evaluation import rows as table_rows
from agrepa.reporting.probed import Probe, pooled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agrepa.params.arms import Arm

SCORE_NUMBERS = [
    *("value", "low", "high", "n", "seeds"),
    *("difference", "difference_low", "difference_high", "difference_p"),
]
PAIR_NUMBERS = ["difference", "low", "high", "p", "n"]
SCORE_COLUMNS = ["row", "metric", *SCORE_NUMBERS, "unit", "card"]


def read_csv(path: Path, columns: list[str], numbers: list[str]) -> pd.DataFrame:
    """Read a CSV as text, with ``numbers`` turned into floats (empty: NaN).

    Raises ArtifactError when the file is missing, lacks a column or has no number where one belongs.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing: run the stage that writes it") from None
    except pd.errors.ParserError as error:
        raise ArtifactError(f"{path} is not a readable CSV file ({error}): delete it and run its stage again") from None
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ArtifactError(f"{path} lacks the columns {', '.join(missing)}: delete it and run its stage again")
    for column in numbers:
        try:
            frame[column] = pd.to_numeric(frame[column].where(frame[column] != ""))
        except ValueError as error:
            raise ArtifactError(f"{path}: column {column} holds something that is not a number ({error})") from None
    return frame


def read_scores(path: Path) -> pd.DataFrame:
    """``scores.csv``: one line a (row, metric).

    Raises ArtifactError as ``read_csv`` does, when a (row, metric) repeats, and when there is none.
    """
    frame = read_csv(path, SCORE_COLUMNS, SCORE_NUMBERS)
    twice = frame[frame.duplicated(["row", "metric"])]
    if len(twice):
        raise ArtifactError(f"{path}: {twice.iloc[0].row} has {twice.iloc[0].metric} more than once: run the stage scores again")
    if frame.empty:
        raise ArtifactError(f"{path} holds no score: run the stage scores")
    return frame


def read_pairs(path: Path) -> pd.DataFrame:
    """``pairs.csv``: the difference of two arms, first less second, one line a (first, second, metric); Base is none of them.

    ``sd``, the deviation of one seed's difference, is NaN of a single seed, of which the file does not have the column.

    Raises ArtifactError as ``read_csv`` does.
    """
    frame = read_csv(path, ["first", "second", "metric", *PAIR_NUMBERS], PAIR_NUMBERS)
    return frame.assign(sd=pd.to_numeric(frame["sd"].where(frame["sd"] != "")) if "sd" in frame else np.nan)


def replications(folder: Path, name: str, stage: str) -> dict[int, Path]:
    """Seed -> ``seed<seed>/<name>.json`` of a collected folder, in the order of the seeds.

    Raises ArtifactError when there is none, or a replication lacks it.
    """
    seeds = sorted(int(place.name.removeprefix("seed")) for place in folder.glob("seed*"))
    found = {seed: folder / f"seed{seed}" / f"{name}.json" for seed in seeds}
    for path in found.values() or [folder / "seed0" / f"{name}.json"]:
        if not path.exists():
            raise ArtifactError(f"{path} is missing: run the stage {stage}")
    return found


def read_probe(folder: Path, probe: str) -> dict[str, Probe]:
    """A probe of the folder of probes, by domain, over all replications; a domain without clips is not there.

    Raises ArtifactError when a file is missing, its arrays do not fit each other, or replications do not.
    """
    found = [_read_probe(path, probe) for path in replications(folder, probe, probe).values()]
    domains = list(found[0])
    if any(list(one) != domains for one in found):
        raise ArtifactError(f"{folder}: the replications of {probe} have other domains: run the stage {probe} again")
    return {domain: pooled([one[domain] for one in found]) for domain in domains}


def _read_probe(path: Path, probe: str) -> dict[str, Probe]:
    data = read_json(path)
    result = {}
    domains = [domain for domain in DOMAINS if domain in data.get("domains", {})]
    for domain in domains or DOMAINS:
        try:
            found = data["domains"][domain]
            arrays = {key: np.asarray(found[key], float) for key in ("score", "low", "high", "by_time")}
            stability = np.asarray(found["top_k_stability"], float)
            result[domain] = Probe(
                layers=list(found["layers"]),
                times=list(found["times"]),
                score=arrays["score"],
                low=arrays["low"],
                high=arrays["high"],
                by_time=arrays["by_time"],
                clips=int(found["clips"]),
                ranking=list(found["ranking"]),
                stability=stability,
                floors=found.get("floors", {}),
                controls=found.get("controls", {}),
            )
        except KeyError as error:
            raise ArtifactError(f"{path} lacks {error} for {domain}: run the stage {probe} again") from None
        depth = len(result[domain].layers)
        shapes = {arrays[key].shape for key in ("score", "low", "high")} | {stability.shape}
        if shapes != {(depth,)} or arrays["by_time"].shape != (depth, len(found["times"])) or len(found["ranking"]) != depth:
            raise ArtifactError(f"{path}: the arrays of {domain} do not fit its {depth} layers: run the stage {probe} again")
    return result


def read_trend(path: Path, domains: Iterable[str]) -> pd.DataFrame:
    """``fog_a_trend.csv``: seed, step, domain, layer, score, rank correlation with the snapshot before (NaN: there is none).

    Raises ArtifactError as ``read_csv`` does, and when it has nothing of one of ``domains``.
    """
    numbers = ["seed", "step", "layer", "score", "rank_correlation"]
    table = read_csv(path, ["domain", *numbers], numbers)
    for domain in domains:
        if domain not in set(table["domain"]):
            raise ArtifactError(f"{path} has nothing of domain {domain}: run the stage fog_a_trend again")
    return table


def read_curves(path: Path) -> pd.DataFrame:
    """``curves.csv``: row, seed, step, series, value. Raises ArtifactError as ``read_csv`` does."""
    return read_csv(path, ["row", "seed", "step", "series", "value"], ["step", "value"])


def settling(trend: pd.DataFrame, domain: str, settled: float) -> str:
    """Whether the order of the layers had settled at the end of the warm-up: the last two snapshots agree to ``settled``.

    Of several replications, that of the least agreement counts.
    """
    mine = trend[trend["domain"] == domain].sort_values("step")
    steps = sorted(mine["step"].unique())
    ends = mine.groupby("seed")["rank_correlation"].last()
    last = float(ends.min(skipna=False))
    if np.isnan(last):
        return "unknown, the last two snapshots have no rank correlation"
    verdict = "settled" if last >= settled else "not settled"
    least = f", the least of {len(ends)} seeds" if len(ends) > 1 else ""
    return f"{verdict}, rank correlation {last:.2f} of steps {steps[-2]:.0f} and {steps[-1]:.0f}{least}"


def read_selections(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """An arm's selection of each replication, by arm in the order of their names; ArtifactError when there is none."""
    names = sorted({file.stem for file in folder.glob("seed*/*.json")})
    if not names:
        raise ArtifactError(f"{folder} holds no selection: run the stage select of every arm")
    return {name: [read_json(path) for path in replications(folder, name, "select").values()] for name in names}


def selected(selections: Sequence[Mapping[str, Any]], domain: str) -> list[tuple[list[int], list[float]]]:
    """The different (layers, weights) that the replications have in one domain; empty where it aligns nothing."""
    found = [selection["domains"].get(domain) or {"layers": [], "weights": []} for selection in selections]
    pairs = [(list(part["layers"]), list(part["weights"])) for part in found if part["layers"]]
    return [pair for i, pair in enumerate(pairs) if pair not in pairs[:i]]


def labels(rows: Mapping[str, Arm], present: list[str]) -> dict[str, str]:
    """Names of the evaluated rows as a reader sees them, in the order of the tables: anchors, arms, control.

    Raises ArtifactError when a score belongs to no known row or two rows have one label.
    """
    order = table_rows.labels({name: arm.label for name, arm in rows.items()})
    unknown = sorted(set(present) - set(order))
    if unknown:
        raise ArtifactError(
            f"scores of unknown rows {', '.join(unknown)}: arms.yaml has {', '.join(rows)}; run the stage scores again"
        )
    found = {name: label for name, label in order.items() if name in present}
    if len(set(found.values())) != len(found):
        raise ArtifactError(f"two of the rows {', '.join(found)} have one label: give them different ones in arms.yaml")
    return found
