"""The command line: one subcommand per stage of the DAG. It names inputs and outputs and calls the stage; no logic."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from agrepa.errors import AgrepaError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


def _paths(text: str) -> list[Path]:
    return [Path(part) for part in text.split()]


Params = Annotated[Path, typer.Option(help="Experiment file, e.g. params/demo.yaml.")]
In = Annotated[Path, typer.Option(help="Input file or folder.")]
Ins = Annotated[str, typer.Option(help="Input files, separated by spaces.")]
Out = Annotated[Path, typer.Option(help="Output file or folder; written whole or not at all.")]
Wildcard = Annotated[str, typer.Option(help="Which job of the stage this is.")]


def stage(function: Callable[..., None]) -> Callable[..., None]:
    """Turn ``function(p, …)`` into a subcommand; the kinds of its arguments say what are inputs, outputs and wildcards."""
    name = function.__name__
    kinds = {k: v for k, v in function.__annotations__.items() if k != "return"}

    @functools.wraps(function)
    def command(**given: Any) -> None:
        from agrepa.runner import running

        params = given.pop("params")
        inputs = {k: [given[k]] for k, kind in kinds.items() if kind == "In" and given[k] is not None}
        inputs |= {k: _paths(given[k]) for k, kind in kinds.items() if kind == "Ins"}
        outputs = {k: given[k] for k, kind in kinds.items() if kind == "Out"}
        wildcards = {k: given[k] for k, kind in kinds.items() if kind == "Wildcard"}
        try:
            with running(name, params, wildcards, inputs, outputs) as (view, places):
                paths = {k: (inputs[k] if kinds[k] == "Ins" else inputs[k][0]) for k in inputs}
                function(view, **{k: v for k, v in given.items() if k not in paths and k not in places}, **paths, **places)
        except AgrepaError as error:
            print(f"agrepa {name.replace('_', '-')}: error: {error}", file=sys.stderr)
            raise typer.Exit(1) from None

    return app.command(name.replace("_", "-"))(command)
