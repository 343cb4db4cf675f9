"""The command line: every stage of the table as a subcommand, made from its signature; and the commands that are no stages."""

from __future__ import annotations

import functools
import inspect
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from agrepa.errors import AgrepaError
from agrepa.pipeline.signatures import signature
from agrepa.pipeline.stages import STAGES

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Every stage of the experiment."
)
dvc_app = typer.Typer(no_args_is_help=True, help="dvc.yaml, rendered from the Snakefile.")
app.add_typer(dvc_app, name="dvc")
folder_app = typer.Typer(no_args_is_help=True, help="Your own recordings.")
app.add_typer(folder_app, name="folder")
ParamsFile = Annotated[Path, typer.Option(help="Experiment file, e.g. params/demo.yaml.")]
Demo = Path("params/demo.yaml")
MEASURED = Path("results/demo")
MAX_JOBS = 30_000  # Snakemake plans these in two minutes: docs/cluster.md
HELP = {
    "Wildcard": "Which job of the stage this is.",
    "In": "Input file or folder.",
    "Ins": "Input files, separated by spaces; [0-7] in a name stands for the numbers from 0 to 7.",
    "Out": "Output file or folder; written whole or not at all.",
    "State": "Folder of resumable state, outside the outputs.",
}


def reported(function: Callable[..., None]) -> Callable[..., None]:
    """Print an expected failure without a traceback and exit with its status."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except AgrepaError as error:
            print(f"agrepa {function.__name__.replace('_', '-')}: error: {error}", file=sys.stderr)
            raise typer.Exit(error.status) from None

    return wrapper


def stage_command(stage: str) -> Callable[..., None]:
    """The subcommand of a stage, with one option an argument."""

    def command(**given: str) -> None:
        from agrepa import params as schema
        from agrepa.pipeline import arithmetic, keys

        params, card = Path(given.pop("params")), Path(given.pop("card"))
        experiment = schema.load(params)
        arithmetic.settle(keys.threads(stage, experiment), experiment.numerics)
        from agrepa.pipeline import runner

        runner.run(stage, experiment, params, given, card)

    command.__name__, command.__doc__ = stage, signature(stage).does
    command = reported(command)
    options = {"params": "Experiment file, e.g. params/demo.yaml."} | {k: HELP[v] for k, v in signature(stage).arguments.items()}
    options |= {"card": "Where the run card is written."}
    keyword = inspect.Parameter.KEYWORD_ONLY
    # Typer reads the options of a subcommand from its signature.
    vars(command)["__signature__"] = inspect.Signature(
        [inspect.Parameter(name, keyword, annotation=Annotated[str, typer.Option(help=words)]) for name, words in options.items()]
    )
    return command


def main() -> None:
    """The program ``agrepa``."""
    # The rules' shells ignore these, so that they outlive a stage which stops by itself: see `workflow.PREFIX`.
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    try:
        for stage in STAGES:
            app.command(stage.replace("_", "-"))(stage_command(stage))
    except AgrepaError as error:
        sys.exit(f"agrepa: error: {error}")
    app()


@dvc_app.command()
@reported
def render(
    params: ParamsFile = Demo,
    check: Annotated[bool, typer.Option(help="Only fail when the file is not what would be rendered.")] = False,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("dvc.yaml"),
) -> None:
    """Render dvc.yaml from the Snakefile."""
    from agrepa.pipeline import dvc

    if check:
        dvc.check(params, out)
    else:
        out.write_text(dvc.render(params), encoding="utf-8")


@dvc_app.command("plan")
@reported
def dvc_plan(params: ParamsFile, out: Annotated[Path, typer.Option(help="The file to write.")]) -> None:
    """Write what every job's result depends on besides its inputs: the params that it reads and the hash of its code."""
    from agrepa.pipeline import dvc

    dvc.write_plan(params, out)


@folder_app.callback()
def folder() -> None:
    """Your own recordings."""


@folder_app.command()
@reported
def init(
    recordings: Annotated[Path, typer.Argument(help="The folder of your recordings.")],
    out: Annotated[Path, typer.Option(help="The params file to write.")] = Path("params/mine.yaml"),
    template: Annotated[Path, typer.Option(help="The experiment that it is made from.")] = Demo,
) -> None:
    """List the recordings of a folder in a CSV, and write the params of an experiment on them."""
    from agrepa.corpora import folder_init

    typer.echo(folder_init.init(recordings, out, template))


@app.command()
@reported
def adopt(engine: Annotated[str, typer.Argument(help="snakemake or dvc")], params: ParamsFile = Demo) -> None:
    """Let one engine accept what the other has just built, if the other has nothing left to do."""
    from agrepa.pipeline import adoption

    typer.echo(adoption.adopt(engine, params))


@app.command()
@reported
def rebuild(params: ParamsFile = Demo) -> None:
    """Rebuild tables, figures and report of an experiment from results/<experiment>/ alone."""
    from agrepa.pipeline import graph

    graph.rebuild(params)


@app.command()
@reported
def plan(
    params: Annotated[Path, typer.Argument(help="Experiment file.")] = Demo,
    measured: Annotated[Path, typer.Option(help="Results of a finished experiment, with its run cards.")] = MEASURED,
    hours: Annotated[list[str] | None, typer.Option(metavar="DOMAIN=HOURS", help="Of audio; once a domain.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file as well.")] = None,
    max_jobs: Annotated[int, typer.Option(help="More jobs than these are an error.")] = MAX_JOBS,
) -> None:
    """Print the jobs of an experiment and what they will take: core-hours, GPU-hours, memory and disk, from measured rates."""
    from agrepa import params as schema
    from agrepa.pipeline import plan as planning

    estimates, jobs = planning.plan(params, measured, planning.by_domain(hours or []))
    if csv is not None:
        planning.table(estimates).to_csv(csv, index=False)
    typer.echo(planning.text(estimates))
    planning.check_size(params, jobs, schema.load(params).shards, max_jobs)


@app.command()
@reported
def pin(
    archive: Annotated[str, typer.Argument(help="A name in archives.yaml, of kind hub or folder.")], params: ParamsFile = Demo
) -> None:
    """Print what pins an archive, for archives.yaml: the hub's commit and the hash of each file, as they are now."""
    import yaml

    from agrepa import params as schema
    from agrepa.archives import pin as pinning
    from agrepa.errors import ParamsError

    archives = schema.load(params).archives
    if archive not in archives:
        raise ParamsError(f"archives.yaml has no {archive!r}: choose from {', '.join(archives)}")
    typer.echo(yaml.safe_dump({archive: pinning.pin(archives[archive])}, sort_keys=False), nl=False)


@app.command()
@reported
def check(params: Annotated[Path, typer.Argument(help="Experiment file.")] = Demo) -> None:
    """Fail unless every job of an experiment has run, with these params, this code and the inputs that there are now."""
    from agrepa.pipeline import completion

    typer.echo(completion.check(params))


@app.command()
@reported
def show(
    path: Annotated[Path, typer.Argument(help="Any output of a stage, e.g. results/demo/scores/scores.csv")],
    depth: Annotated[int, typer.Option(help="How many steps back to print.")] = 99,
) -> None:
    """Print where a file comes from: every job behind it, back to the archives and the commit."""
    from agrepa.pipeline import lineage

    cards = lineage.load([Path("results"), Path("work"), Path("downloads")])
    for level, name, card in lineage.lineage(path, cards):
        if level <= depth:
            typer.echo(lineage.describe(level, name, card))
    if lineage.changed_since(path, cards):
        typer.echo(f"{path} has changed since: this is the history of what was written there, not of what is there now", err=True)


@app.command()
@reported
def compare(
    old: Annotated[str, typer.Argument(help="Git revision.")],
    new: Annotated[str, typer.Argument(help="Git revision.")] = "HEAD",
    params: ParamsFile = Demo,
) -> None:
    """Print what changed in an experiment's scores between two git revisions, and whether it exceeds the intervals."""
    from agrepa import params as schema
    from agrepa.reporting import compare as comparing

    _, text = comparing.compare(Path.cwd(), old, new, f"results/{schema.load(params).name}/scores/scores.csv")
    typer.echo(text)


@app.command()
@reported
def verify(
    params: ParamsFile = Demo,
    against: Annotated[str, typer.Option(help="Git revision with the published results.")] = "HEAD",
) -> None:
    """Print whether the published scores came out again in this run, to the byte or within their intervals; else exit with 1."""
    from agrepa import params as schema
    from agrepa.pipeline import verify as verifying

    passed, text = verifying.verify(Path.cwd(), schema.load(params).name, params, against)
    typer.echo(text)
    if not passed:
        raise typer.Exit(1)


@app.command()
@reported
def spread(
    of: Annotated[list[Path], typer.Option(help="Scores folders of runs with other seeds: --of DIR DIR ...")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="DIR", help="The rest of them.")] = None,
    params: ParamsFile = Demo,
) -> None:
    """Write results/<experiment>/spread.csv: how far each metric moves when all is done again with other seeds."""
    from agrepa import params as schema
    from agrepa.pipeline import replications

    typer.echo(replications.write_spread(Path.cwd(), schema.load(params).name, [*of, *(more or [])]))
