"""What a subcommand is, and how a function that names inputs and outputs becomes one that runs a stage."""

from __future__ import annotations

import functools
import inspect
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agrepa.errors import AgrepaError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Every stage of the experiment."
)


ParamsFile = Annotated[Path, typer.Option(help="Experiment file, e.g. params/demo.yaml.")]
In = Annotated[Path, typer.Option(help="Input file or folder.")]
Out = Annotated[Path, typer.Option(help="Output file or folder; written whole or not at all.")]
Card = Annotated[Path, typer.Option(help="Where the run card is written.")]
State = Annotated[Path, typer.Option(help="Folder of resumable state, outside the outputs.")]
Wildcard = Annotated[str, typer.Option(help="Which job of the stage this is.")]
if TYPE_CHECKING:  # What the body of a stage gets is not what stands on its command line.
    from agrepa.params import Experiment as Params

    Ins = list[Path]
else:
    Params = ParamsFile
    Ins = Annotated[str, typer.Option(help="Input files, separated by spaces.")]


def reported(function: Callable[..., None]) -> Callable[..., None]:
    """Print an expected failure without a traceback and exit with status 1."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except AgrepaError as error:
            print(f"agrepa {function.__name__.replace('_', '-')}: error: {error}", file=sys.stderr)
            raise typer.Exit(1) from None

    return wrapper


SOURCES = {"manifest": In, "statistics": In, "mel": Ins, "tokens": Ins, "whisper": Ins, "yamnet": Ins}


def stage(function: Callable[..., None]) -> Callable[..., None]:
    """Turn ``function(params, …)`` into a subcommand; the kinds of its arguments say what are inputs, outputs and wildcards.

    A ``**sources`` argument stands for the artifacts that every stage which runs the model reads.
    """
    name = function.__name__
    signature = inspect.signature(function, eval_str=True)
    kinds = {k: v.annotation for k, v in signature.parameters.items() if v.kind is not inspect.Parameter.VAR_KEYWORD}
    if len(kinds) < len(signature.parameters):
        kinds |= SOURCES
    kinds |= {"card": Card}

    def command(**given: Any) -> None:
        from agrepa import params as schema
        from agrepa import threads

        params, card = given.pop("params"), given.pop("card")
        threads.limit(name, schema.load(params))
        from agrepa.runner import running

        inputs = {k: [given[k]] for k in given if kinds[k] is In} | {k: given[k].split() for k in given if kinds[k] is Ins}
        inputs = {k: [Path(path) for path in paths] for k, paths in inputs.items()}
        outputs = {k: given[k] for k in given if kinds[k] is Out}
        wildcards = {k: given[k] for k in given if kinds[k] is Wildcard}
        with running(name, params, wildcards, inputs, outputs, card) as (view, places):
            paths = {k: v if kinds[k] is Ins else v[0] for k, v in inputs.items()}
            function(view, **(given | paths | places))
        # Only now are the outputs in their place, and the state no longer needed.
        for state in (given[k] for k in given if kinds[k] is State):
            shutil.rmtree(state, ignore_errors=True)

    keyword = inspect.Parameter.KEYWORD_ONLY
    command.__name__ = name
    command = reported(command)
    signature = inspect.Signature([inspect.Parameter(k, keyword, annotation=v) for k, v in kinds.items()])
    # Typer reads the options of a subcommand from its signature.
    vars(command)["__signature__"] = signature
    command.__doc__ = function.__doc__
    app.command(name.replace("_", "-"))(command)
    return function
