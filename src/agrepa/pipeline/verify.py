"""Whether the published numbers came out again: this working tree's run of an experiment against a git revision's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from agrepa.errors import ArtifactError
from agrepa.pipeline import likeness
from agrepa.pipeline.likeness import Cards
from agrepa.pipeline.lineage import CARD
from agrepa.reporting import agreement, revisions, spread
from agrepa.reporting.agreement import INSIDE, MISSING, NEW, OUTSIDE, SAME, UNBOUNDED, Agreement
from agrepa.reporting.layout import Grid, Page, interval, markdown, number

SCORES, CARDS, SPREAD = "scores/scores.csv", "cards", "spread.csv"
CRITERION = (
    "Runs that were computed alike must agree to the byte. Otherwise a trained row must lie within the published value "
    "± t · SD · √2, the 95 % prediction interval of one more run, where the SD is that of whole replications with other seeds "
    "and t has its degrees of freedom; an anchor, and a metric without a published spread, within its published interval over "
    "clips. No more scores may lie outside than a binomial at 5 % stays within in 99 cases of 100; it takes scores as "
    "independent, which those of one row are not."
)
CELLS = ("score", "verdict", "published", "found", "cells that differ")


def verify(root: Path, name: str, params: Path, revision: str) -> tuple[bool, str]:
    """Compare the scores of results/<name>/ with the published ones.

    Args:
        root: the top of the repository, where the experiment ran.
        name: of the experiment.
        params: its file, for the remedies.
        revision: where the published results are, as git names it.

    Returns whether the published numbers came out again, and the table that says so, as Markdown.

    Raises ArtifactError when the experiment was not run yet, the revision has no scores, or the params differ.
    """
    place = f"results/{name}"
    published, old_cards = _published(root, place, revision)
    anew = f"move work/{name} away if there is one, and run make verify PARAMS={params}"
    if not (root / place / SCORES).exists():
        raise ArtifactError(f"{place}/{SCORES} is missing, so {name} was not run yet: {anew}")
    found, new_cards = run_in(root / place)
    if old_cards == new_cards:
        raise ArtifactError(f"{place} is the published run of {revision!r} itself, so {name} was not run yet: {anew}")
    params_there, params_here = likeness.params(old_cards), likeness.params(new_cards)
    added = sorted(params_here.keys() - params_there.keys())
    if differ := likeness.different(params_there, {key: value for key, value in params_here.items() if key not in added}):
        raise ArtifactError(
            f"{place} has other params than at {revision!r}, so that a comparison says nothing; run with those of the "
            f"published results, or name another revision with --against:\n  " + "\n  ".join(differ)
        )
    known, lacking = _spread(root, place, revision, params_there)
    result = agreement.agreement(published, found, known)
    unlike = likeness.unlike(old_cards, new_cards)
    passed = result.passed(not unlike)
    notes = []
    if known is None:
        notes.append(f"Only intervals over clips are known ({lacking}); they leave out what another training would do.")
    if added:
        notes.append(f"Keys that the published params did not have yet: {', '.join(added)}.")
    if code := likeness.other_code(old_cards, new_cards):
        notes.append(f"The code differs in the stages {', '.join(code)}.")
    if kept := sum(new_cards.get(job) == card for job, card in old_cards.items()):
        notes.append(f"{kept} of {len(old_cards)} jobs were not run anew: their run cards are the published ones.")
    grids = (_counts(result), *_differences(result, not unlike), *_machines(old_cards, new_cards))
    title = f"{place}: this run against {revision} ({revisions.commit(root, revision)[:10]})"
    return passed, markdown(Page("verify", title, "", CRITERION, _reading(result, unlike, passed), tuple(notes), grids))


def _published(root: Path, place: str, revision: str) -> tuple[pd.DataFrame, Cards]:
    where = f"{place} in revision {revision!r}"
    data = revisions.content(root, revision, f"{place}/{SCORES}")
    if data is None:
        raise ArtifactError(f"{where} has no {SCORES}: name a revision that has published scores with --against")
    return _run(data, revisions.folder(root, revision, f"{place}/{CARDS}"), where)


def _spread(root: Path, place: str, revision: str, params: dict[str, Any]) -> tuple[pd.DataFrame | None, str]:
    """The published spread, or None and why there is none of these params."""
    where = f"{place}/{SPREAD} in revision {revision!r}"
    data, card = (revisions.content(root, revision, f"{place}/{file}") for file in (SPREAD, SPREAD + CARD))
    if data is None or card is None:
        return None, f"{revision!r} has no {place}/{SPREAD}" + ("" if data is None else CARD)
    made_with = likeness.read({SPREAD + CARD: card}, place)[SPREAD + CARD]["params"]
    if differ := likeness.different(made_with, likeness.seedless(params)):
        return None, f"{where} was made with other params: {'; '.join(differ)}"
    return spread.read(data, where), ""


def run_in(folder: Path) -> tuple[pd.DataFrame, Cards]:
    """The scores and run cards in a results/<experiment>/ folder.

    Raises ArtifactError when the scores are missing, or no card is of them.
    """
    if not (folder / SCORES).exists():
        raise ArtifactError(
            f"{folder / SCORES} is missing: run the experiment there, or name its folder results/<experiment>/scores"
        )
    cards = {path.name: path.read_bytes() for path in sorted((folder / CARDS).glob("*.json"))}
    return _run((folder / SCORES).read_bytes(), cards, str(folder))


def _run(data: bytes, files: Mapping[str, bytes], where: str) -> tuple[pd.DataFrame, Cards]:
    cards = likeness.read(files, f"{where}/{CARDS}")
    likeness.scores_card(cards, data, where)
    return revisions.scores(data, f"{where}/{SCORES}"), cards


def _reading(result: Agreement, unlike: list[str], passed: bool) -> str:
    how = f"Computed otherwise ({', '.join(unlike)}), so intervals decide" if unlike else "Computed alike, so every byte counts"
    published = len(result.scores) - result.count(NEW)
    counts = f"{result.count(SAME)} of {published} scores agree to the byte, {result.count(INSIDE)} lie inside their interval"
    outside = f"{result.count(OUTSIDE)} outside"
    if result.judged:
        outside += f", of which {result.expected:.1f} are expected at 95 % and {result.allowed} allowed at 99 %"
    verdict = "the published numbers came out again" if passed else "the published numbers did NOT come out again"
    return f"{how}: {counts} and {outside}. So {verdict}."


def _counts(result: Agreement) -> Grid:
    words = {SAME: "the same to the byte", INSIDE: "differs, inside its interval", OUTSIDE: "differs, outside its interval"}
    words |= {UNBOUNDED: "differs, and has no interval", MISSING: "published, and not found", NEW: "found, and not published"}
    rows = [(words[verdict], str(result.count(verdict))) for verdict in words]
    rows += [("expected outside, at 95 %", number(result.expected, 1)), ("allowed outside, at 99 %", str(result.allowed))]
    return Grid("Scores", ("", "scores"), tuple(rows), ("", ""))


def _differences(result: Agreement, alike: bool) -> list[Grid]:
    """The scores that a reader must look at: each difference where none may be, else what is not inside."""
    hidden = [SAME, NEW] if alike else [SAME, NEW, INSIDE]
    chosen = result.scores[~result.scores.verdict.isin(hidden)]
    rows = tuple(
        (
            f"{line.row} {line.metric}",
            line.verdict,
            interval(line.published, line.low, line.high),
            number(line.found),
            line.cells or "-",
        )
        for line in chosen.itertuples()
    )
    return [Grid("Each difference" if alike else "Not inside", CELLS, rows, ("",) * len(CELLS))] if rows else []


def _machines(old: Cards, new: Cards) -> list[Grid]:
    before, after = likeness.machines(old), likeness.machines(new)
    rows = []
    for name in dict.fromkeys([*before, *after]):
        a, b = before.get(name, "-"), after.get(name, "-")
        if name == "instructions":  # a score of names each: those that both have say nothing
            a, b = (" ".join(word for word in x.split() if word not in y.split()) or "-" for x, y in ((a, b), (b, a)))
        if a != b:
            rows.append((name if name != "instructions" else "instructions only here", a, b))
    return [Grid("What differs in code and machine", ("", "published", "this run"), tuple(rows), ("",) * 3)] if rows else []
