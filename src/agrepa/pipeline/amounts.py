"""How much work a job is: what each stage's time, memory and files grow with, from the parameters that the job reads.

Amounts are for ratios alone: of a job that was measured to one that is planned. So a factor that both have is left out, and where
nobody knows how long the measured clips were, hours are in clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SHARDED = ("shard", "seed")  # wildcards that tell jobs of equal cost apart


@dataclass(frozen=True)
class Corpus:
    """The clips of an experiment.

    Attributes:
        clips: domain -> clips of all splits together.
        length: domain -> mean seconds of a clip; empty where it is not known.
        evaluated: domain -> clips that each row is made of.
    """

    clips: Mapping[str, float]
    length: Mapping[str, float] = field(default_factory=dict)
    evaluated: Mapping[str, float] = field(default_factory=dict)

    def audio(self, *domains: str) -> float:
        """Seconds of audio of some domains, or of all; clips where their length is not known."""
        return self._seconds(self.clips, domains)

    def heard(self, *domains: str) -> float:
        """The same of what one row is evaluated on."""
        return self._seconds(self.evaluated, domains)

    def _seconds(self, counts: Mapping[str, float], domains: tuple[str, ...]) -> float:
        return sum(count * self.length.get(domain, 1.0) for domain, count in counts.items() if not domains or domain in domains)


@dataclass(frozen=True)
class Job:
    """A job that was measured or is planned.

    Attributes:
        stage: its entry in the table of stages.
        wildcards: which job of the stage it is.
        reads: the parameters that it reads, by dotted key, as on its run card.
    """

    stage: str
    wildcards: Mapping[str, str]
    reads: Mapping[str, Any]
    corpus: Corpus

    def get(self, key: str, default: Any = None) -> Any:
        """The value at a dotted key of ``reads``; ``default``, or KeyError without one, where the job does not read it."""
        if key.startswith("model.") and "model" not in self.reads:  # that of the job's backbone
            kind = next((name for name in self.reads if name.startswith("models.")), "model")
            key = key.replace("model", kind, 1)
        parts = key.split(".")
        for count in range(len(parts), 0, -1):
            found: Any = self.reads.get(".".join(parts[:count]))
            if found is None:
                continue
            for part in parts[count:]:
                found = found.get(part) if isinstance(found, Mapping) else None
            if found is not None:
                return found
        if default is None:
            raise KeyError(key)
        return default

    @property
    def alike(self) -> dict[str, Any]:
        """What a measured job must share with a planned one to say anything about it."""
        keys = ALIKE.get(self.stage, ())
        return {key: self.get(key.format(**self.wildcards), "none") for key in keys}


def weights(job: Job) -> float:
    """Weights of the backbone, up to a factor: its blocks hold most of them."""
    return float(job.get("model.depth") * job.get("model.width") ** 2)


def activations(job: Job) -> float:
    """What one training step holds in memory, up to a factor."""
    return float(job.get("training.batch_frames") * job.get("model.depth") * job.get("model.width"))


def _once(job: Job) -> float:
    return 1.0


def _shard(job: Job) -> float:
    return job.corpus.audio() / job.get("shards")


def _encoded(job: Job) -> float:
    return job.corpus.audio(*job.get(f"encoders.{job.wildcards['encoder']}.domains")) / job.get("shards")


def _steps(key: str) -> Callable[[Job], float]:
    return lambda job: job.get(key) * job.get("training.batch_frames") * weights(job)


def _grid(probe: str, passes: Callable[[Job], float]) -> Callable[[Job], float]:
    """Of a probe: clips x times x passes through the model."""
    return lambda job: job.get(f"{probe}.clips") * len(job.get(f"{probe}.times")) * passes(job) * weights(job)


def _ablations(job: Job) -> float:
    return float(job.get("model.depth") + 1)


def _trend(job: Job) -> float:
    snapshots = max(1, job.get("training.warmup_steps") // job.get("training.snapshot_every"))
    clips = job.get("probes.fog_a.trend_clips") * len(job.get("probes.fog_a.trend_times"))
    return float(snapshots * clips * _ablations(job) * weights(job))


def _fit(job: Job) -> float:
    stream = f"tokens.{job.wildcards['stream']}"
    # Codes that are given are fitted to nothing.
    return float(job.get(f"{stream}.max_frames", 0) * job.get(f"{stream}.vocabulary") * job.get(f"{stream}.iterations", 0))


def _held(job: Job) -> float:
    stream = f"tokens.{job.wildcards['stream']}"
    return float(job.get(f"{stream}.max_frames"))


def _heard(*domains: str) -> Callable[[Job], float]:
    return lambda job: job.corpus.heard(*domains)


def _sampled(job: Job) -> float:
    return job.corpus.heard() * job.get("evaluation.sampling.steps") * weights(job)


@dataclass(frozen=True)
class Growth:
    """What a stage grows with.

    Attributes:
        words: what its time grows with, for a reader; empty where that is the same in every experiment.
        time: of one job, up to a factor.
        memory: likewise, where the job holds more of something than the measured one did.
        files: of what it writes; None where that goes with its time.
    """

    words: str
    time: Callable[[Job], float] = _once
    memory: Callable[[Job], float] = _once
    files: Callable[[Job], float] | None = None


HOURS = "hours of audio"
HEARD = "hours evaluated"
TRAINING = "steps x frames x depth x width^2"
PROBING = "clips x times x passes x depth x width^2"
GROWTH = {
    "fetch": Growth("megabytes", lambda job: job.get(f"archives.{job.wildcards['archive']}.megabytes")),
    "candidates": Growth(HOURS, lambda job: job.corpus.audio()),
    "decode": Growth(HOURS, lambda job: _shard(job) * (1 + job.get("corpora.reserve"))),
    "manifest": Growth(HOURS, lambda job: job.corpus.audio()),
    "mel": Growth(HOURS, _shard, _shard),
    "mel_statistics": Growth(HOURS, lambda job: job.corpus.audio(), files=_once),
    "encode": Growth("hours of audio of the encoder's domains", _encoded, _encoded),
    "index": Growth(HOURS, lambda job: job.corpus.audio()),
    "codebook": Growth("frames x vocabulary x iterations", _fit, _held, lambda job: _fit(job) / _held(job)),
    "tokenize": Growth(HOURS, _shard, _shard),
    "warmup": Growth(TRAINING, _steps("training.warmup_steps"), activations, weights),
    "train": Growth(TRAINING, _steps("training.arm_steps"), activations, weights),
    "fog_a": Growth(PROBING, _grid("probes.fog_a", _ablations), files=_once),
    "lasp": Growth(PROBING, _grid("probes.lasp", _once), files=_once),
    "gradient_norm": Growth(PROBING, _grid("probes.gradient_norm", _once), activations, _once),
    "fog_a_trend": Growth("snapshots x " + PROBING, _trend, files=_once),
    "anchor": Growth(HEARD, _heard()),
    "synthesize": Growth(f"{HEARD} x steps x depth x width^2", _sampled, files=_heard()),
    "wer": Growth(f"{HEARD}, speech", _heard("speech"), files=_once),
    "mos": Growth(f"{HEARD}, speech", _heard("speech"), files=_once),
    "units": Growth(HEARD, _heard(), files=_once),
    "embed": Growth(HEARD, _heard()),
    "fad": Growth(HEARD, _heard(), files=_once),
    "scores": Growth("arms x seeds", lambda job: len(job.get("arms")) * len(job.get("seeds"))),
}
"""The stages that grow; any other is the same work in every experiment."""

ALIKE = {
    "encode": ("encoders.{encoder}.kind",),
    "codebook": ("tokens.{stream}.codebook",),
    "embed": ("encoders.{embedding}.kind",),
    "anchor": ("evaluation.vocoder.kind",),
    "synthesize": ("model.kind", "evaluation.vocoder.kind"),
} | dict.fromkeys(("warmup", "train", "fog_a", "lasp", "gradient_norm", "fog_a_trend"), ("model.kind",))
"""Stage -> keys that must be equal: another kind of network costs what nobody has measured."""


def growth(stage: str) -> Growth:
    """What a stage grows with."""
    return GROWTH.get(stage, Growth(""))
