"""What one job may read of an experiment: its keys, their values as data, and the settings object that the stage gets."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from pydantic import BaseModel

from agrepa.errors import ParamsError
from agrepa.params import Experiment
from agrepa.params.stages import Settings
from agrepa.pipeline.stages import STAGES

Wildcards = dict[str, str]
PLACE = re.compile(r"\{([a-z0-9_.*]+)\}")


def lookup(experiment: Experiment, key: str) -> list[Any]:
    """The values at a dotted key; ``*`` stands for every entry of a mapping."""
    values: list[Any] = [experiment]
    for part in key.split("."):
        if part == "*":
            values = [item for value in values for item in value.values()]
        else:
            values = [value[part] if isinstance(value, dict) else getattr(value, part) for value in values]
    return values


def fill(template: str, experiment: Experiment, wildcards: Wildcards) -> list[str]:
    """The texts that a template stands for, wildcards and keys filled in from the innermost braces outwards."""
    found = PLACE.search(template)
    if found is None:
        return [template]
    name = found[1]
    if name in wildcards:
        values = [wildcards[name]]
    elif "." in name:
        values = [str(value) for value in lookup(experiment, name)]
    else:
        raise ParamsError(f"{template}: the job has no wildcard {name!r}, only {', '.join(wildcards) or 'none'}")
    start, end = found.span()
    return [text for value in values for text in fill(template[:start] + value + template[end:], experiment, wildcards)]


def keys(stage: str, experiment: Experiment, wildcards: Wildcards) -> dict[str, str]:
    """Field of the stage's settings -> the dotted key that it stands for in this job."""
    fields = dataclasses.fields(STAGES[stage].settings)
    return {f.name: fill(f.metadata.get("key", f.name), experiment, wildcards)[0] for f in fields}


def values(stage: str, experiment: Experiment, wildcards: Wildcards) -> dict[str, Any]:
    """The parameters that one job reads, threads and numerics included, as plain data by dotted key."""
    unless = {f.name: f.metadata["unless"] for f in dataclasses.fields(STAGES[stage].settings) if "unless" in f.metadata}
    said = [
        key
        for name, key in keys(stage, experiment, wildcards).items()
        if name not in unless or lookup(experiment, key)[0] != unless[name]
    ]
    wanted = dict.fromkeys([*said, f"threads.{STAGES[stage].threads}", "numerics"])
    return {key: _plain(lookup(experiment, key)[0]) for key in wanted}


def settings(stage: str, experiment: Experiment, wildcards: Wildcards) -> Settings:
    """The settings object of one job."""
    found = {name: lookup(experiment, key)[0] for name, key in keys(stage, experiment, wildcards).items()}
    return STAGES[stage].settings(**found)


def threads(stage: str, experiment: Experiment) -> int:
    """The threads that the params give to a job of this stage."""
    return int(getattr(experiment.threads, STAGES[stage].threads))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
