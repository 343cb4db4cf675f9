"""``agrepa plan``: the jobs of an experiment and what they will take, before any of them runs or is even put into a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from agrepa import params as schema
from agrepa.artifacts.files import read_json
from agrepa.domains import DOMAINS
from agrepa.errors import AgrepaError, ArtifactError, ParamsError
from agrepa.params import Experiment
from agrepa.pipeline import graph, keys
from agrepa.pipeline.amounts import Corpus, Job
from agrepa.pipeline.dvc import STAGE_OF
from agrepa.pipeline.estimates import COLUMNS, Estimate, Rates, estimate, measured
from agrepa.pipeline.lineage import CORPUS

SPLITS = ("train", "validation", "test")
HEAD = ("rule", "jobs", "core-hours", "GPU-hours", "MB memory a job", "MB disk a job", "GB disk", "from")
UNKNOWN = "-"


class TooManyJobsError(AgrepaError):
    """More jobs than Snakemake can plan in a time that one would wait."""


def read_cards(folder: Path) -> list[dict[str, Any]]:
    """The run cards below a folder of results; ArtifactError when there are none."""
    found = [read_json(path) for path in sorted(folder.rglob("*.card.json"))]
    if not found:
        raise ArtifactError(f"{folder} holds no run cards: name the results of a finished experiment with --measured")
    return found


def plan(params: Path, results: Path, hours: Mapping[str, float]) -> tuple[list[Estimate], list[Job]]:
    """What each rule of an experiment takes, in the order of the rules, and all jobs.

    Args:
        results: of the finished experiment whose run cards the rates come from.
        hours: of audio, by domain, where they are not to follow from the params.

    Raises ParamsError and ArtifactError when there are no run cards, or the hours are not known.
    """
    experiment, cards = schema.load(params), read_cards(results)
    known = measured_corpus(cards, results)
    corpus = planned_corpus(experiment, params, known, hours)
    rates = Rates(measured(cards, known), results.name)
    estimates, all_jobs = [], []
    for rule, combinations in graph.listed(params).items():
        stage = STAGE_OF.get(rule, rule)
        jobs = [Job(stage, these, keys.values(stage, experiment, these), corpus) for these in combinations.values()]
        estimates.append(estimate(rule, jobs, rates))
        all_jobs += jobs
    return estimates, all_jobs


def by_domain(words: Iterable[str]) -> dict[str, float]:
    """Hours by domain from ``speech=960``; ParamsError when a word is none of that form."""
    found = {}
    for word in words:
        domain, _, hours = word.partition("=")
        try:
            found[domain] = float(hours)
        except ValueError:
            raise ParamsError(f"--hours {word}: write DOMAIN=HOURS, e.g. --hours speech=960") from None
    return found


def measured_corpus(cards: Sequence[Mapping[str, Any]], results: Path) -> Corpus:
    """The clips of a finished experiment: as its run cards list them, or as many as its params asked for, of unknown length."""
    heard: Mapping[str, Any] = next((card["params"] for card in cards if card["stage"] == "synthesize"), {})
    evaluated = {"speech": heard.get("evaluation.speech_clips", 0) + heard.get("evaluation.unseen_clips", 0)}
    evaluated["audio"] = heard.get("evaluation.audio_clips", 0)
    if found := sorted(results.rglob(CORPUS)):
        table = pd.read_csv(found[0]).groupby("domain")[["clips", "seconds"]].sum()
        length = (table.seconds / table.clips).to_dict()
        return Corpus(table.clips.to_dict(), length, evaluated)
    asked = next((card["params"]["corpora"] for card in cards if card["stage"] in ("candidates", "manifest")), None)
    counts = None if asked is None else _asked(asked)
    if counts is None or any(count is None for count in counts.values()):
        raise ArtifactError(
            f"{results} says nowhere how many clips it was made of: run `snakemake -- {results}/cards` in its workspace"
        )
    return Corpus({domain: count for domain, count in counts.items() if count is not None}, {}, evaluated)


def planned_corpus(experiment: Experiment, params: Path, known: Corpus, hours: Mapping[str, float]) -> Corpus:
    """The clips of an experiment: its manifest's, or those of ``hours``, or as many as its params ask for, as long as the known.

    Raises ParamsError when the params ask for all that there are, or ``hours`` cannot be turned into clips.
    """
    evaluation = experiment.evaluation
    evaluated = {"speech": evaluation.speech_clips + evaluation.unseen_clips, "audio": evaluation.audio_clips}
    evaluated = {domain: evaluated[domain] for domain in experiment.domains}
    manifest = Path("work") / experiment.name / "manifest.parquet"
    if unknown := set(hours) - set(experiment.domains):
        raise ParamsError(f"--hours {', '.join(sorted(unknown))}: {params} has the domains {', '.join(experiment.domains)}")
    if hours and not known.length:
        raise ParamsError(
            "--hours cannot be compared with run cards that do not tell how long the clips were: make them again, "
            "or say the clips in corpora.train, corpora.validation and corpora.test"
        )
    most = experiment.corpora.max_seconds
    length = {domain: min(seconds, most) for domain, seconds in known.length.items()}
    asked = _asked(experiment.corpora.model_dump())
    clips: dict[str, float] = {}
    if manifest.exists() and not hours:
        table = pd.read_parquet(manifest, columns=["domain", "seconds"]).groupby("domain").seconds
        own = table.mean().to_dict() if known.length else {}
        return Corpus(table.size().to_dict(), own, evaluated)
    for domain in experiment.domains:
        if domain in hours:
            clips[domain] = hours[domain] * 3600 / length[domain]
        elif (count := asked[domain]) is not None:
            clips[domain] = count
        else:
            raise ParamsError(
                f"{params}: corpora.*.{domain} is null, all clips that there are: say how much with --hours {domain}=HOURS, "
                f"or run `snakemake --config params={params} -- {manifest}` first"
            )
    return Corpus(clips, length, evaluated)


def _asked(corpora: Mapping[str, Any]) -> dict[str, float | None]:
    """Domain -> clips that params ask for; None where they ask for all that there are."""
    counts: dict[str, list[float | None]] = {domain: [] for domain in DOMAINS}
    for split in SPLITS:
        counts["speech"] += [corpora[split]["speech"], corpora[split].get("unseen", 0)]
        counts["audio"].append(corpora[split]["audio"])
    return {domain: None if None in found else sum(n for n in found if n) for domain, found in counts.items()}


def check_size(params: Path, jobs: Sequence[Job], shards: int, limit: int) -> None:
    """TooManyJobsError, with what to change, when there are more jobs than ``limit``."""
    if len(jobs) <= limit:
        return
    sharded = sum("shard" in job.wildcards for job in jobs)
    rest, each = len(jobs) - sharded, sharded // shards
    said = f"{params}: {len(jobs):,} jobs are more than {limit:,}, which Snakemake plans for long before it runs one: "
    if rest + each > limit:
        raise TooManyJobsError(f"{said}{rest:,} of them are no shards, so run fewer arms or seeds at once")
    raise TooManyJobsError(
        f"{said}lower shards from {shards:,} to {(limit - rest) // each:,} or less, so that each job takes more clips, "
        "or raise --max-jobs"
    )


def table(estimates: Sequence[Estimate]) -> pd.DataFrame:
    """One line a rule, as it is written to CSV."""
    return pd.DataFrame([[getattr(one, name) for name in COLUMNS] for one in estimates], columns=COLUMNS)


def text(estimates: Sequence[Estimate]) -> str:
    """The table for a reader, with sums over the rules that have a rate."""
    lines = [
        (
            *(one.rule, f"{one.jobs:,}", _number(one.core_hours), _number(one.gpu_hours)),
            *(_number(one.memory_mb, 0), _number(one.job_disk_mb, 1), _number(one.disk_mb and one.disk_mb / 1000), one.rate),
        )
        for one in estimates
    ]
    jobs = f"{sum(one.jobs for one in estimates):,}"
    core, gpu = (_number(_sum(getattr(one, name) for one in estimates)) for name in ("core_hours", "gpu_hours"))
    memory, disk = max((one.memory_mb or 0 for one in estimates), default=0), _sum(one.disk_mb for one in estimates)
    missing = [one.rule for one in estimates if one.core_hours is None]
    without = f"without {', '.join(missing)}" if missing else ""
    lines.append(("in all", jobs, core, gpu, _number(memory, 0), "", _number(disk and disk / 1000), without))
    widths = [max(len(line[i]) for line in (HEAD, *lines)) for i in range(len(HEAD))]

    def row(line: Sequence[str]) -> str:
        middle = [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)]
        return "  ".join([line[0].ljust(widths[0]), *middle, line[-1]]).rstrip()

    return "\n".join(map(row, (HEAD, *lines)))


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _number(value: float | None, places: int = 2) -> str:
    return UNKNOWN if value is None else f"{value:,.{places}f}"
