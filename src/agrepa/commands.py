"""Commands that are not stages: lineage, comparison of versions, and the two engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agrepa.subcommand import ParamsFile, app, reported

dvc_app = typer.Typer(no_args_is_help=True, help="dvc.yaml, rendered from the Snakefile.")
app.add_typer(dvc_app, name="dvc")
Demo = Path("params/demo.yaml")


@dvc_app.command()
@reported
def render(
    params: ParamsFile = Demo,
    check: Annotated[bool, typer.Option(help="Only fail when dvc.yaml is not what would be rendered.")] = False,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("dvc.yaml"),
) -> None:
    """Render dvc.yaml from the Snakefile."""
    from agrepa import dvc

    if check:
        dvc.check(params, Path.cwd(), out)
    else:
        out.write_text(dvc.render(params, Path.cwd()), encoding="utf-8")


@app.command()
@reported
def adopt(engine: Annotated[str, typer.Argument(help="snakemake or dvc")], params: ParamsFile = Demo) -> None:
    """Let one engine accept what the other has just built, if the other has nothing left to do."""
    from agrepa import engines

    typer.echo(engines.adopt(engine, str(params)))


@app.command()
@reported
def rebuild(params: ParamsFile = Demo) -> None:
    """Rebuild tables, figures and report of an experiment from results/<experiment>/ alone."""
    from agrepa import pipeline

    pipeline.rebuild(params)


@app.command()
@reported
def show(
    path: Annotated[Path, typer.Argument(help="Any output of a stage, e.g. results/demo/scores/scores.csv")],
    depth: Annotated[int, typer.Option(help="How many steps back to print.")] = 99,
) -> None:
    """Print where a file comes from: every job behind it, back to the archives and the commit."""
    from agrepa import lineage

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
