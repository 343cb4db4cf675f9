"""The arguments of a stage, read from the source of its entry point, so that nothing heavy is imported to plan."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agrepa.errors import ParamsError
from agrepa.pipeline.stages import STAGES

PACKAGE = Path(__file__).resolve().parents[1]
KINDS = ("Wildcard", "In", "Ins", "Out", "State")


@dataclass(frozen=True)
class Signature:
    """Arguments by name with their kind, one of ``KINDS``, in the order of the entry point, and its docstring's first line."""

    arguments: dict[str, str]
    does: str

    def of(self, *kinds: str) -> list[str]:
        """The names of the arguments of these kinds."""
        return [name for name, kind in self.arguments.items() if kind in kinds]


def path_of(module: str) -> Path:
    """The file of a module of this package; ParamsError when there is none."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    found = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    if not found.exists():
        raise ParamsError(
            f"{found} does not exist, and a stage or the params name {module}: write the module or correct the name"
        )
    return found


@cache
def signature(stage: str) -> Signature:
    """The arguments of a stage.

    Raises ParamsError when there is no such stage, or its entry point is missing or has an argument of unknown kind.
    """
    if stage not in STAGES:
        raise ParamsError(f"there is no stage {stage!r} in agrepa.pipeline.stages, which has: {', '.join(STAGES)}")
    module, _, name = STAGES[stage].entry.partition(":")
    path = path_of(module)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            found = {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in node.args.kwonlyargs}
            unknown = [f"{argument}: {kind}" for argument, kind in found.items() if kind not in KINDS]
            if unknown or len(node.args.args) != 1 or node.args.kwarg:
                raise ParamsError(
                    f"{path}: {name} must take settings and then keyword-only arguments annotated {', '.join(KINDS)} "
                    f"(agrepa.job); found {', '.join(unknown) or 'others'}"
                )
            return Signature(found, (ast.get_docstring(node) or stage).splitlines()[0])
    raise ParamsError(f"{path} has no function {name!r}, which agrepa.pipeline.stages names as the entry of stage {stage!r}")
