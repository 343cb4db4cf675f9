"""What each key of the model's recipe is worth: Base trained without it, judged on the validation split.

    python benchmarks/recipe.py benchmarks/recipe.yaml --seeds 0 1 --jobs 2

Run the experiment of the table's ``params`` first, at least to its tokens. The first row is the recipe; every other changes some
keys of it. Of the jobs that lead to Base's metrics, those whose params or inputs a row changes run anew, in
``work/recipe/<row>/seed<seed>``; all others are taken from the first row or from the experiment. So a row costs a training and
its evaluation, or the evaluation alone. A row's seed is that of training: clips and codebooks stay. What is finished is not run
again, and training goes on where it was stopped. Writes ``results/recipe/scores.csv``, one line a row and seed.
"""

from __future__ import annotations

import argparse
import copy
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import pandas as pd
import yaml

from agrepa import params as schema
from agrepa.artifacts.files import read_json, read_table
from agrepa.errors import AgrepaError
from agrepa.pipeline import graph, keys
from agrepa.pipeline.file_lists import expand

TRAINED = ("warmup", "train")  # the stages that a row's seed is of
METRICS = ("wer", "units")


def merged(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``data`` with dotted keys changed; KeyError for a key that it lacks."""
    data = copy.deepcopy(data)
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        place = data
        for part in path:
            place = place[part]
        place[last] = value if last in place else place[last]
    return data


class Row:
    """One row of the table, for one seed.

    Args:
        table: ``params``, ``common`` (changes of every row) and ``rows`` (name -> changes).
        parent: the row from which everything is taken that this one does not change; the experiment itself where there is none.
    """

    def __init__(self, table: dict[str, Any], name: str, seed: int, parent: Row | None = None) -> None:
        self.name, self.seed, self.source, self.parent = name, seed, Path(table["params"]), parent
        experiment = schema.load(self.source)
        self.work, self.folder = f"work/{experiment.name}", f"work/recipe/{name.replace(' ', '_')}/seed{seed}"
        data = merged(schema.read_params(self.source), table["common"] | table["rows"][name])
        self.params = self._write("params.yaml", data)
        self.known = {path: schema.load(path) for path in (self.params, self.source)}
        self.moved: set[str] = set()

    def _write(self, name: str, data: dict[str, Any]) -> Path:
        """A params file with the arms and archives beside it that it needs."""
        folder = Path(self.folder) / "params"
        folder.mkdir(parents=True, exist_ok=True)
        for other in schema.experiment.FILES.values():
            (folder / other).write_text(self.source.with_name(other).read_text())
        path = folder / name
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    def values(self, job: Any) -> dict[str, Any]:
        """The params that a job of this row reads."""
        return keys.values(job.rule.name, self.known[self.params], dict(job.wildcards_dict))

    def place(self, path: str) -> str:
        """Where a file of the experiment lies for this row."""
        if path in self.moved:
            return path.replace(self.work, self.folder, 1)
        return self.parent.place(path) if self.parent else path

    def run(self, jobs: list[Any]) -> dict[str, Any]:
        """Run what the row changes, and give its scores."""
        for job in jobs:
            wildcards = dict(job.wildcards_dict)
            above = self.parent.values(job) if self.parent else keys.values(job.rule.name, self.known[self.source], wildcards)
            if self.values(job) != above or any(str(path) in self.moved for path in job.input):
                self.moved |= {str(path) for path in job.output}
            if not all(Path(self.place(str(path))).exists() for path in job.output):
                self._command(job)
        wer, units = (read_json(Path(self.place(f"{self.work}/metrics/base/seed0/{name}.json"))) for name in METRICS)
        log = read_table(Path(self.place(f"{self.work}/arms/base/seed0/log.parquet")))
        last = log[log.step == log.step.max()].set_index("series").value
        scores = {name: part["value"] for found in (wer, units) for name, part in found.items() if isinstance(part, dict)}
        loss = {name: float(value) for name, value in last.items() if str(name).startswith("validation_flow")}
        return {"row": self.name, "seed": self.seed, "steps": int(log.step.max())} | loss | scores

    def _command(self, job: Any) -> None:
        words = [self._word(word) for word in shlex.split(graph.command(job))]
        words[0] = str(Path(sys.executable).with_name(words[0]))
        if job.rule.name in TRAINED:
            words[words.index("--seed") + 1] = str(self.seed)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise AgrepaError(f"{self.name}, seed {self.seed}: {job.rule.name}: {(done.stderr or done.stdout).strip()[-2000:]}")

    def _word(self, word: str) -> str:
        """A word of the job's command for this row: its params and its places."""
        if word == str(self.source):
            return str(self.params)
        if "/state/" in word:  # of a training to resume, which is no output
            return word.replace(self.work, self.folder, 1)
        return " ".join(self.place(path) for part in word.split(" ") for path in map(str, expand(part))) if "/" in word else word


def leading_to_base(params: Path, metrics: tuple[str, ...]) -> list[Any]:
    """The jobs behind the metrics of Base, each after those that it needs."""
    jobs = graph.jobs(params)
    made = {str(path): job for job in jobs for path in job.output}
    ordered: list[Any] = []

    def visit(job: Any) -> None:
        if job not in ordered:
            for path in job.input:
                if (before := made.get(str(path))) is not None:
                    visit(before)
            ordered.append(job)

    for job in jobs:
        if job.rule.name in metrics and job.wildcards_dict.get("row") == "base":
            visit(job)
    return ordered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rows", nargs="+", help="only these")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time, one thread each")
    parser.add_argument("--out", type=Path, default=Path("results/recipe/scores.csv"))
    given = parser.parse_args()
    table = yaml.safe_load(given.table.read_text())
    jobs = leading_to_base(Path(table["params"]), METRICS)
    first, *others = table["rows"]
    parents = {seed: Row(table, first, seed) for seed in given.seeds}
    pairs = [(name, seed) for seed in given.seeds for name in given.rows or others]

    writing = Lock()

    def one(pair: tuple[str, int]) -> None:
        name, seed = pair
        row = parents[seed] if name == first else Row(table, name, seed, parents[seed])
        found = pd.DataFrame([row.run(jobs)])
        with writing:
            keep(found, pair)

    def keep(found: pd.DataFrame, pair: tuple[str, int]) -> None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        known = pd.read_csv(given.out) if given.out.exists() else found.iloc[:0]
        rest = known[~((known.row == pair[0]) & (known.seed == pair[1]))]
        both = found if rest.empty else pd.concat([rest, found], ignore_index=True)
        both.sort_values(["row", "seed"]).to_csv(given.out, index=False, float_format="%.6g")
        print(found.round(4).to_string(index=False), flush=True)

    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(one, [(first, seed) for seed in given.seeds]))
        list(pool.map(one, [pair for pair in pairs if pair[0] != first]))


if __name__ == "__main__":
    main()
