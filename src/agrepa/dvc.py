"""dvc.yaml, rendered from the Snakefile: the same jobs, commands, inputs and outputs, for `dvc repro`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from agrepa import params as schema
from agrepa import pipeline, stages
from agrepa.errors import AgrepaError

HEADER = "# Rendered from the Snakefile by `agrepa dvc render`; edit the Snakefile and render again.\n"
METRICS = "metrics.json"
UNCACHED = ("results/", "downloads/")


class StaleError(AgrepaError):
    """dvc.yaml is not what the Snakefile renders to."""


def stage_name(job: Any) -> str:
    """Rule and wildcards: ``train-ag_repa-0``."""
    return "-".join([job.rule.name, *(str(value) for _, value in sorted(job.wildcards_dict.items()))])


def parameter_files(stage: str, wildcards: dict[str, str], params: Path) -> list[dict[str, list[str]]]:
    """The stage's keys by the YAML file that they stand in; keys left to their default are in no file."""
    by_file: dict[str, list[str]] = {}
    for key in stages.keys(stage, wildcards):
        top, _, rest = key.partition(".")
        file, inner = (params.with_name(schema.FILES[top]), rest) if top in schema.FILES else (params, key)
        data: Any = schema.read_yaml(file)
        names = [inner] if inner else list(data)
        for name in names:
            value = data
            for part in name.split("."):
                value = value.get(part, ...) if isinstance(value, dict) else ...
            if value is not ...:
                by_file.setdefault(str(file), []).append(name)
    return [{file: sorted(keys)} for file, keys in sorted(by_file.items())]


def entry(job: Any, params: Path, root: Path) -> dict[str, Any]:
    """One stage of dvc.yaml."""
    stage, wildcards = _stage_of(job)
    command = pipeline.command(job).replace(f"--params {params}", "--params ${params}")
    if "${" in command.replace("${params}", ""):
        raise AgrepaError(f"rule {job.rule.name}: its command holds a ${{…}} of its own: {command}")
    sources = sorted(str(path.relative_to(root)) for path in stages.source_files(stage, wildcards))
    outputs = sorted(map(str, job.output))
    return {
        "cmd": command,
        "deps": sorted(set(map(str, job.input))) + sources,
        "params": parameter_files(stage, wildcards, params),
        "outs": [_out(path) for path in outputs if Path(path).name != METRICS],
        **(
            {"metrics": [{path: {"cache": False}} for path in outputs if Path(path).name == METRICS]}
            if _has_metrics(outputs)
            else {}
        ),
    }


def _has_metrics(outputs: list[str]) -> bool:
    return any(Path(path).name == METRICS for path in outputs)


def _out(path: str) -> Any:
    """What git tracks, or anyone can download again, is not also put into DVC's cache."""
    return {path: {"cache": False}} if path.startswith(UNCACHED) else path


def _stage_of(job: Any) -> tuple[str, dict[str, str]]:
    name = {"page": "report"}.get(job.rule.name, job.rule.name)
    return name, {key: str(value) for key, value in job.wildcards_dict.items()}


def render(params: Path, root: Path) -> str:
    """The text of dvc.yaml for one experiment."""
    experiment = schema.load(params)
    found = pipeline.jobs(str(params))
    scores = f"results/{experiment.name}/scores"
    data = {
        "vars": [{"params": str(params)}],
        "stages": {stage_name(job): entry(job, params, root) for job in found},
        "plots": [
            {"validation loss": {"x": "step", "y": {f"{scores}/validation.csv": ["warmup", *experiment.arms]}}},
        ],
    }
    return HEADER + yaml.safe_dump(data, sort_keys=False, width=140)


def check(params: Path, root: Path, path: Path) -> None:
    """StaleError when ``path`` is not what the Snakefile renders to now."""
    if not path.exists() or path.read_text(encoding="utf-8") != render(params, root):
        raise StaleError(f"{path} is not what the Snakefile renders to: run `agrepa dvc render --params {params}`")
