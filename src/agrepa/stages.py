"""What each stage of the DAG is made of: the modules that do it and the parameters that it may read.

This table is the only place that says so. The Snakefile takes the rule's parameters and source hash from it, dvc.yaml is
rendered from the Snakefile, and the command line hands a stage a view of the experiment that refuses any other key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agrepa.errors import ParamsError


@dataclass(frozen=True)
class Stage:
    """One kind of job; ``{wildcard}`` in modules and params is filled with the job's wildcards.

    Attributes:
        modules: importable names whose import closure is the stage's source.
        params: dotted keys of the experiment that the stage reads.
        threads: which entry of ``threads`` bounds the job.
    """

    modules: tuple[str, ...]
    params: tuple[str, ...] = ()
    threads: str = "features"


TRAINING = (
    "seed",
    "model",
    "flow",
    "training",
    "corpora.sample_rate",
    "mel",
    "tokens",
    "teachers",
)
VOCODER = ("evaluation.vocoder", "evaluation.griffin_lim_iterations")

STAGES = {
    "fetch": Stage(("agrepa.corpora.fetch",), ("archives.{archive}",)),
    "prepare": Stage(("agrepa.corpora.prepare",), ("corpora", "seed")),
    "attribution": Stage(("agrepa.corpora.attribution",), ("archives", "evaluation.vocoder")),
    "mel": Stage(("agrepa.audio.mel_features",), ("mel", "corpora.sample_rate", "shards")),
    "mel_statistics": Stage(("agrepa.audio.mel_statistics",)),
    "encode": Stage(
        ("agrepa.encoders.extract", "agrepa.encoders.{encoder}"), ("encoders.{encoder}", "corpora.sample_rate", "shards")
    ),
    "codebook": Stage(("agrepa.tokens.codebook",), ("tokens.{stream}", "seed")),
    "tokenize": Stage(("agrepa.tokens.tokenize",), ("tokens", "shards")),
    "warmup": Stage(("agrepa.training.warmup",), TRAINING, "warmup"),
    "fog_a_trend": Stage(("agrepa.probes.fog_a",), (*TRAINING, "probes.fog_a"), "arms"),
    "fog_a": Stage(("agrepa.probes.fog_a",), (*TRAINING, "probes.fog_a", "probes.bootstrap"), "warmup"),
    "lasp": Stage(("agrepa.probes.lasp",), (*TRAINING, "probes.lasp", "probes.bootstrap"), "arms"),
    "gradient_norm": Stage(("agrepa.probes.gradient_norm",), (*TRAINING, "probes.gradient_norm", "probes.bootstrap"), "arms"),
    "select": Stage(
        ("agrepa.selection",),
        ("rows.{arm}.strategy", "rows.{arm}.layers", "rows.{arm}.k", "rows.{arm}.weighting", "model.depth", "seed"),
    ),
    "train": Stage(("agrepa.training.arm",), (*TRAINING, "rows.{arm}.head"), "arms"),
    "synthesize": Stage(
        ("agrepa.evaluation.synthesis",),
        (*TRAINING, *VOCODER, "evaluation.sampling", "evaluation.split", "evaluation.speech_clips", "evaluation.audio_clips"),
        "evaluation",
    ),
    "anchor": Stage(
        ("agrepa.evaluation.anchors",),
        (
            "mel",
            "corpora.sample_rate",
            *VOCODER,
            "evaluation.split",
            "evaluation.anchor_speech_clips",
            "evaluation.anchor_audio_clips",
        ),
        "evaluation",
    ),
    "wer": Stage(
        ("agrepa.evaluation.wer",),
        ("evaluation.judge", "evaluation.split", "evaluation.bootstrap", "seed", "corpora.sample_rate"),
        "evaluation",
    ),
    "mos": Stage(("agrepa.evaluation.mos",), ("corpora.sample_rate", "evaluation.bootstrap", "seed"), "evaluation"),
    "units": Stage(
        ("agrepa.evaluation.units", "agrepa.encoders.whisper", "agrepa.encoders.yamnet"),
        (
            "tokens",
            "corpora.sample_rate",
            "encoders.whisper.batch_seconds",
            "encoders.yamnet.batch_seconds",
            "evaluation.bootstrap",
            "seed",
        ),
        "evaluation",
    ),
    "embed": Stage(
        ("agrepa.evaluation.embeddings", "agrepa.encoders.{embedding}"),
        ("encoders.{embedding}.batch_seconds", "corpora.sample_rate", "evaluation.split"),
        "evaluation",
    ),
    "fad": Stage(
        ("agrepa.evaluation.frechet",),
        ("evaluation.frechet", "evaluation.split", "evaluation.speech_clips", "evaluation.audio_clips", "seed"),
        "evaluation",
    ),
    "scores": Stage(("agrepa.evaluation.scores",), ("arms", "seeds", "control", "evaluation.bootstrap", "seed"), "evaluation"),
    "collect": Stage(("agrepa.evaluation.collect",), ("arms", "seeds"), "evaluation"),
    "listening": Stage(
        ("agrepa.evaluation.listening",),
        ("reporting.listening_clips", "evaluation.split", "mel", "corpora.sample_rate"),
        "evaluation",
    ),
    "cards": Stage(("agrepa.lineage",), ("name",), "evaluation"),
    "tables": Stage(
        ("agrepa.reporting.tables",),
        ("rows", "model.depth", "tokens.config", "evaluation.split", "reporting.data_note", "archives.whisper_tiny_en"),
        "evaluation",
    ),
    "figures": Stage(("agrepa.reporting.figures",), ("rows", "reporting.data_note"), "evaluation"),
    "report": Stage(("agrepa.reporting.report",), ("name", "rows", "reporting.data_note"), "evaluation"),
}


class View:
    """An experiment through the eyes of one stage: reading a key that the stage did not declare is an error."""

    def __init__(self, target: Any, allowed: tuple[str, ...], stage: str, path: str = "", fingerprint: Any = None) -> None:
        # `fingerprint` holds everything that the job's result depends on; resumable work is filed under it.
        self.__dict__.update(_target=target, _allowed=allowed, _stage=stage, _path=path, fingerprint=fingerprint)

    def _child(self, name: str, value: Any) -> Any:
        path = f"{self._path}.{name}" if self._path else name
        if any(path == key or path.startswith(key + ".") for key in self._allowed):
            return value
        if any(key.startswith(path + ".") for key in self._allowed):
            return View(value, self._allowed, self._stage, path)
        raise ParamsError(f"stage {self._stage!r} reads {path!r}, which agrepa.stages does not list for it: add it there")

    def __getattr__(self, name: str) -> Any:
        return self._child(name, getattr(self._target, name))

    def __getitem__(self, name: str) -> Any:
        return self._child(name, self._target[name])


def keys(stage: str, wildcards: dict[str, str]) -> tuple[str, ...]:
    """The dotted parameter keys of one job, e.g. ``("rows.ag_repa.k", …)``."""
    spec = STAGES[stage]
    return tuple(dict.fromkeys(key.format(**wildcards) for key in (*spec.params, f"threads.{spec.threads}")))


def values(stage: str, experiment: BaseModel, wildcards: dict[str, str]) -> dict[str, Any]:
    """The parameters that one job reads, as plain data by dotted key."""
    result = {}
    for key in keys(stage, wildcards):
        value: Any = experiment
        for part in key.split("."):
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        result[key] = _plain(value)
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


@cache
def _import_graph() -> Any:
    import grimp

    # Names imported for type checking only are never executed, so they cannot change a result.
    return grimp.build_graph("agrepa", exclude_type_checking_imports=True, cache_dir=None)


def source_files(stage: str, wildcards: dict[str, str]) -> list[Path]:
    """The files of the package that one job executes, found by following imports."""
    graph = _import_graph()
    modules = {name.format(**wildcards) for name in STAGES[stage].modules}
    missing = modules - graph.modules
    if missing:
        raise ParamsError(f"stage {stage!r} names modules that do not exist: {', '.join(sorted(missing))}")
    closure = set(modules).union(*(graph.find_upstream_modules(module) for module in modules))
    root = Path(__file__).parent
    found = []
    for module in sorted(closure):
        base = root.joinpath(*module.split(".")[1:])
        found.append(base / "__init__.py" if base.is_dir() else base.with_suffix(".py"))
    return found


def source_hash(stage: str, wildcards: dict[str, str]) -> str:
    """A short hash over the content of ``source_files``."""
    digest = hashlib.sha256()
    for file in source_files(stage, wildcards):
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
