"""The code that a job executes, and its hash: what a comment or a docstring says is no part of it."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from agrepa.params import Experiment
from agrepa.pipeline.keys import Wildcards, fill
from agrepa.pipeline.signatures import path_of
from agrepa.pipeline.stages import STAGES


def modules(stage: str, experiment: Experiment, wildcards: Wildcards) -> frozenset[str]:
    """Where the job's code begins: the stage's entry and what it imports by a name in the params."""
    spec = STAGES[stage]
    named = list(spec.named)
    if spec.aligned and experiment.rows[wildcards["arm"]].strategy != "none":
        named += spec.aligned
    return frozenset(
        [spec.entry.partition(":")[0], *(name for template in named for name in fill(template, experiment, wildcards))]
    )


def files(stage: str, experiment: Experiment, wildcards: Wildcards) -> list[Path]:
    """The files of the package that one job executes, found by following imports."""
    return sorted(path_of(module) for module in _closure(modules(stage, experiment, wildcards)))


def source_hash(stage: str, experiment: Experiment, wildcards: Wildcards) -> str:
    """A short hash over the code of ``files``, without comments, docstrings and layout."""
    return _hash_of(modules(stage, experiment, wildcards))


@cache
def _graph() -> Any:
    import grimp

    # Names imported for type checking only are never executed, so they cannot change a result.
    return grimp.build_graph("agrepa", exclude_type_checking_imports=True, cache_dir=None)


@cache
def _closure(begin: frozenset[str]) -> frozenset[str]:
    for module in begin:
        path_of(module)  # a clear error where there is none
    graph = _graph()
    return begin.union(*(graph.find_upstream_modules(module) for module in begin))


@cache
def _hash_of(begin: frozenset[str]) -> str:
    digest = hashlib.sha256()
    for module in sorted(_closure(begin)):
        digest.update(f"{module}\0{code(path_of(module))}\0".encode())
    return digest.hexdigest()[:16]


@cache
def code(path: Path) -> str:
    """The module's code as Python itself would write it, without comments, docstrings and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
