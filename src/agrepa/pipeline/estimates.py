"""What an experiment will take, rule by rule, from what another one took: rates of its run cards times the amount of work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from agrepa.pipeline.amounts import SHARDED, Corpus, Job, growth

MB = 1e6


@dataclass(frozen=True)
class Estimate:
    """What the jobs of one rule take; None is not known.

    Attributes:
        core_hours, gpu_hours: of all jobs. A job's threads count whether or not it keeps them busy.
        memory_mb: of the largest job.
        job_disk_mb, disk_mb: what the largest job writes, and all of them.
        rate: which measured jobs this is from, or why there are none.
    """

    rule: str
    jobs: int
    core_hours: float | None
    gpu_hours: float | None
    memory_mb: float | None
    job_disk_mb: float | None
    disk_mb: float | None
    rate: str


COLUMNS = [column.name for column in fields(Estimate)]


@dataclass(frozen=True)
class Measured:
    """One job of a finished experiment."""

    job: Job
    core_seconds: float
    gpu_seconds: float
    memory_mb: float
    disk_mb: float | None

    @property
    def on_gpu(self) -> bool:
        return self.gpu_seconds > 0


def measured(cards: Iterable[Mapping[str, Any]], corpus: Corpus) -> list[Measured]:
    """The jobs that run cards tell of, on the clips of their experiment."""
    found = []
    for card in cards:
        job = Job(card["stage"], card["wildcards"], card["params"], corpus)
        # A card names the machine's GPU also where the job had no use for one.
        gpu = card["hardware"]["gpu"] is not None and job.get("training.accelerator", "cpu") != "cpu"
        written = sum(card["bytes"].values()) / MB if "bytes" in card else None
        seconds = card["seconds"]
        found.append(Measured(job, seconds * card["threads"], seconds if gpu else 0.0, card["peak_memory_mb"], written))
    return found


class Rates:
    """The measured jobs, by stage."""

    def __init__(self, jobs: Iterable[Measured], name: str) -> None:
        self.name = name
        self._jobs: dict[str, list[Measured]] = defaultdict(list)
        for one in jobs:
            self._jobs[one.job.stage].append(one)

    def of(self, job: Job) -> tuple[list[Measured], str]:
        """The measured jobs that say something about a planned one, the nearest if some are, and words on them.

        They follow on "3 jobs"; without any jobs they say why.
        """
        known = [one for one in self._jobs[job.stage] if _did(one.job)]
        if not known:
            return [], f"none: {self.name} has no run card of {job.stage} that says how much it did"
        if not (same := [one for one in known if one.job.alike == job.alike]):
            return [], f"none: {self.name} has not measured {', '.join(map(str, job.alike.values()))}"
        accelerator = job.get("training.accelerator", "auto")
        if accelerator != "auto" and not (same := [one for one in same if one.on_gpu == (accelerator == "cuda")]):
            return [], f"none: {self.name} has not measured it on {accelerator}"
        own = [one for one in same if _own(one.job) and _own(one.job).items() <= job.wildcards.items()]
        names = " and ".join(_own(same[0].job))
        whose = f" of {'the same' if own else 'another'} {names}" if names else ""
        chosen = own or same
        return chosen, f"{whose}{' on a GPU' if any(one.on_gpu for one in chosen) else ''}"


def _did(job: Job) -> bool:
    """Whether a measured job had anything to do, and its card names the parameters that say how much."""
    try:
        return growth(job.stage).time(job) > 0
    except KeyError:
        return False


def _own(job: Job) -> dict[str, str]:
    return {name: value for name, value in job.wildcards.items() if name not in SHARDED}


def estimate(rule: str, jobs: Sequence[Job], rates: Rates) -> Estimate:
    """What the jobs of a rule take. Time goes with the mean rate of the measured jobs, memory with the largest of them."""
    core = gpu = disk = 0.0
    memory: list[float] = []
    written: list[float] = []
    said: dict[str, set[int]] = defaultdict(set)
    known, sized = True, True
    for group in _alike(jobs):
        job, count = group[0], len(group)
        chosen, words = rates.of(job)
        said[words] |= {id(one) for one in chosen}
        if not chosen:
            known = sized = False
            continue
        grows = growth(job.stage)
        amount = grows.time(job) / sum(grows.time(one.job) for one in chosen)
        core += count * amount * sum(one.core_seconds for one in chosen)
        gpu += count * amount * sum(one.gpu_seconds for one in chosen)
        memory += [one.memory_mb * max(1.0, grows.memory(job) / grows.memory(one.job)) for one in chosen]
        sizes = [one.disk_mb for one in chosen if one.disk_mb is not None]
        sized = sized and len(sizes) == len(chosen)
        if sized:
            files = grows.files or grows.time
            written.append(sum(sizes) * files(job) / sum(files(one.job) for one in chosen))
            disk += count * written[-1]
    rates_said = (f"{len(them)} {'job' if len(them) == 1 else 'jobs'}{words}" if them else words for words, them in said.items())
    rate = "; ".join(rates_said)
    return Estimate(
        rule,
        len(jobs),
        core / 3600 if known else None,
        gpu / 3600 if known else None,
        max(memory) if known and memory else None,
        max(written) if sized and written else None,
        disk if sized else None,
        f"{rate}, by {words}" if known and jobs and (words := growth(jobs[0].stage).words) else rate,
    )


def _alike(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs that cost the same, together: of thousands of shards one is looked at."""
    groups: dict[Any, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[tuple(_own(job).items())].append(job)
    return list(groups.values())
