"""dvc.yaml, rendered from the Snakefile: the same jobs, commands, inputs and outputs, for `dvc repro`.

Jobs of one rule become one stage with a matrix (or a list of items) wherever their files follow from the wildcards. The stage
``plan`` writes down what each job depends on besides its inputs, the params that it reads and the hash of its code, and each
job depends on its own entry there: so both engines go by the same two texts, and a comment re-runs nothing but that plan.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import yaml

from agrepa import params as schema
from agrepa.artifacts.files import write_json
from agrepa.errors import AgrepaError
from agrepa.pipeline import graph, keys
from agrepa.pipeline.source import source_hash

HEADER = "# Rendered from the Snakefile by `agrepa dvc render`; edit the Snakefile and render again.\n"
METRICS = "metrics.json"
UNCACHED = ("results/", "downloads/")
Template = tuple[str, tuple[str, ...], tuple[str, ...]]  # command, inputs, outputs
STAGE_OF = {"page": "report"}  # a rule may not be called `report`, which is a word of Snakemake's


class Line(list[Any]):
    """A list that stands on one line of the YAML."""


class Entry(dict[str, Any]):
    """A mapping that stands on one line of the YAML."""


class Dumper(yaml.SafeDumper):
    """Writes ``Line`` and ``Entry`` on one line, and nothing as an anchor."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Dumper.add_representer(Line, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True))
Dumper.add_representer(Entry, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True))


class StaleError(AgrepaError):
    """dvc.yaml is not what the Snakefile renders to."""


class Job:
    """A job of the Snakefile as DVC sees it."""

    def __init__(self, job: Any, params: Path) -> None:
        self.rule, self.wildcards = str(job.rule.name), {k: str(v) for k, v in job.wildcards_dict.items()}
        self.stage = STAGE_OF.get(self.rule, self.rule)
        self.command = graph.command(job).replace(f"--params {params}", "--params ${params}")
        if "${" in self.command.replace("${params}", ""):
            raise AgrepaError(f"rule {self.rule}: its command holds a ${{…}} of its own: {self.command}")
        self.reads, self.writes = sorted(set(map(str, job.input))), sorted(map(str, job.output))
        self.template = self._template()

    @property
    def name(self) -> str:
        """Rule and wildcards: ``train-ag_repa-0``."""
        return "-".join([self.rule, *self.wildcards.values()])

    def _template(self) -> Template:
        """The job's texts with the values of its wildcards taken out, where they stand as a word of their own.

        Raises AgrepaError when they cannot be put back.
        """
        found = [self.command, *self.reads, *self.writes]
        for name, value in self.wildcards.items():
            word = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(value)}(?![A-Za-z0-9_])")
            if value.isdigit():  # as an argument, as a file's or folder's name, or behind `seed` in one
                word = re.compile(
                    rf"(?<=--{name} ){value}(?![0-9])|(?<=[/.]{'seed' if name == 'seed' else ''}){value}(?=[./ ]|$)"
                )
            found = [word.sub(f"${{item.{name}}}", text) for text in found]
        if filled(found, self.wildcards) != [self.command, *self.reads, *self.writes]:
            raise AgrepaError(f"rule {self.rule}: a file or argument of {self.wildcards} cannot be told apart from its wildcards")
        count = 1 + len(self.reads)
        return found[0], tuple(sorted(found[1:count])), tuple(sorted(found[count:]))


def filled(texts: Iterable[str], wildcards: dict[str, str]) -> list[str]:
    """The texts with these wildcards' values in their places."""
    found = list(texts)
    for name, value in wildcards.items():
        found = [text.replace(f"${{item.{name}}}", value) for text in found]
    return found


def families(jobs: list[Job]) -> list[list[Job]]:
    """Jobs that one stage of dvc.yaml can stand for: of one rule and of equal texts but for their wildcards."""
    found: dict[tuple[str, Template], list[Job]] = defaultdict(list)
    for job in jobs:
        found[job.rule, job.template].append(job)
    return list(found.values())


def entry(family: list[Job], plan: str) -> dict[str, Any]:
    """One stage of dvc.yaml, for one job or several."""
    first, lists = family[0], _matrix(family)
    varying = {name: values for name, values in lists.items() if len(values) > 1}
    fixed = {k: v for k, v in first.wildcards.items() if k not in varying}
    (command,), reads, writes = (
        filled(first.template[:1], fixed),
        filled(first.template[1], fixed),
        filled(first.template[2], fixed),
    )
    place = ".".join([first.rule, *(f"${{item.{k}}}" if k in varying else v for k, v in first.wildcards.items())])
    stage: dict[str, Any] = {"matrix": {k: Line(v) for k, v in varying.items()}} if varying else {}
    stage |= {"cmd": command, **({"deps": reads} if reads else {}), "params": [{plan: Line([place])}]}
    stage["outs"] = [_out(path) for path in writes if Path(path).name != METRICS]
    metrics = [_out(path) for path in writes if Path(path).name == METRICS]
    return stage | ({"metrics": metrics} if metrics else {})


def _name(family: list[Job], families: list[list[Job]]) -> str:
    """The rule, and what tells this family from others of the rule: the values of wildcards that only it has."""
    mine, others = _matrix(family), [_matrix(f) for f in families if f[0].rule == family[0].rule and f is not family]
    ways = [names for count in range(len(mine) + 1) for names in combinations(mine, count)]
    telling = [[*chain(*(mine[k] for k in names))] for names in ways if all(any(o[k] != mine[k] for k in names) for o in others)]
    return "-".join([family[0].rule, *min(telling, key=lambda values: len("".join(values)))])


def _matrix(family: list[Job]) -> dict[str, list[str]]:
    return {name: list(dict.fromkeys(job.wildcards[name] for job in family)) for name in family[0].wildcards}


def _complete(family: list[Job]) -> bool:
    """Whether the jobs are every combination of their wildcards, as a matrix would have it."""
    return len(family) == math.prod(map(len, _matrix(family).values()))


def _out(path: str) -> Any:
    """What git tracks, or anyone can download again, is not also put into DVC's cache."""
    return {path: Entry(cache=False)} if path.startswith(UNCACHED) else path


def matrices(family: list[Job]) -> list[list[Job]]:
    """The family cut into as few parts as will do, by the values of one wildcard, so that each part is a matrix."""
    ways = [[family]]
    for name in family[0].wildcards:
        parts: dict[str, list[Job]] = defaultdict(list)
        for job in family:
            parts[job.wildcards[name]].append(job)
        ways.append(list(parts.values()))
    return min((way for way in ways if all(map(_complete, way))), key=len, default=[[job] for job in family])


def render(params: Path) -> str:
    """The text of dvc.yaml for one experiment."""
    experiment = schema.load(params)
    scores, plan = f"results/{experiment.name}/scores", str(plan_file(params))
    tracked = [str(params), *(str(params.with_name(name)) for name in schema.FILES.values())]
    stages: dict[str, Any] = {
        "plan": {
            "cmd": f"agrepa dvc plan --params ${{params}} --out {plan}",
            "deps": ["Snakefile", "src/agrepa", "workflow/rules"],
            "params": [{file: None} for file in tracked],
            "outs": [{plan: Entry(cache=False)}],
        }
    }
    found = [part for whole in families([Job(job, params) for job in graph.jobs(params)]) for part in matrices(whole)]
    for family in found:
        stages[_name(family, found)] = entry(family, plan)
    curves = {f"{scores}/validation.csv": ["warmup", *experiment.arms]}
    plots = [{"validation loss": {"x": "step", "y": curves}}]
    data = {"vars": [{"params": str(params)}], "stages": stages, "plots": plots}
    return HEADER + yaml.dump(data, Dumper=Dumper, sort_keys=False, width=160)


def check(params: Path, path: Path) -> None:
    """StaleError when ``path`` is not what the Snakefile renders to now."""
    if not path.exists() or path.read_text(encoding="utf-8") != render(params):
        raise StaleError(f"{path} is not what the Snakefile renders to: run `agrepa dvc render --params {params}`")


def plan_file(params: Path) -> Path:
    """Where the plan of an experiment lies."""
    return Path("work") / schema.load(params).name / "plan.json"


def write_plan(params: Path, out: Path) -> None:
    """Write, for every job, ``[what it reads as JSON, hash of its code]`` under rule and wildcards."""
    experiment = schema.load(params)
    plan: dict[str, Any] = {}
    for job in (Job(job, params) for job in graph.jobs(params)):
        *path, last = [job.rule, *job.wildcards.values()]
        place = plan
        for part in path:
            place = place.setdefault(part, {})
        reads = json.dumps(keys.values(job.stage, experiment, job.wildcards), sort_keys=True)
        place[last] = {"reads": reads, "source": source_hash(job.stage, experiment, job.wildcards)}
    write_json(out, plan)
