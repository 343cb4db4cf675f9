"""Table 3: which layers to align, chosen by each strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from agrepa.domains import DOMAINS
from agrepa.evaluation.rows import BASE
from agrepa.evaluation.statistics import holm
from agrepa.reporting.collected import labels
from agrepa.reporting.layout import NOT_RUN, Grid, interval, listed, printed
from agrepa.reporting.metrics import Metric
from agrepa.reporting.table_scores import CHANCE, aligned, cell, counted, run_domains

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agrepa.params.arms import Arm
    from agrepa.reporting.paper import Paper


def of_domain(fads: Sequence[Metric], domain: str) -> list[Metric]:
    """The distances of one domain; the gain over Base is taken on the first, which the paper's value stands beside."""
    return [metric for metric in fads if metric.domain == domain]


def shown(rows: Mapping[str, Arm], scores: pd.DataFrame) -> dict[str, str]:
    """Rows of Table 3 with their labels: the arms run that the paper has there, and one's own that are like them."""
    found = labels(rows, list(scores["row"]))
    return {row: label for row, label in found.items() if row in rows and belongs(rows[row])}


def belongs(arm: Arm) -> bool:
    """Whether Table 3 shows an arm: the paper has it there, or has it nowhere and it differs from these in its layers alone."""
    return "table3" in arm.paper or (not arm.paper and arm.differs_in_layers_alone)


def compute(
    rows: Mapping[str, Arm], scores: pd.DataFrame, fads: Sequence[Metric], selections: dict[str, Any], paper: Paper
) -> pd.DataFrame:
    """One line a method: layers, weights, FADs, relative gain over Base in percent, the paper's values."""
    cells = scores.set_index(["row", "metric"])
    lines = []
    for row, label in shown(rows, scores).items():
        method = rows[row].paper.get("table3")
        line: dict[str, Any] = {"method": label, "strategy": rows[row].strategy}
        for domain in DOMAINS:
            line[f"layers_{domain}"], line[f"weights_{domain}"] = aligned(rows, selections, row, domain)
        for metric in fads:
            line |= cell(cells, row, metric.name)
        for domain in DOMAINS:
            gained = gain(cells, row, of_domain(fads, domain)[0].name)
            line |= {f"relative_gain_{domain}{end}": part for end, part in gained.items()}
        line["paper_layers"] = "" if method is None else paper.text("table3", method, "layers").replace(",", "")
        for column in ("speech_fad", "audio_fad", "relative_gain", "convergence_steps"):
            line[f"paper_{column}"] = None if method is None else paper.value("table3", method, column)
        lines.append(line)
    return pd.DataFrame(lines)


def gain(cells: pd.DataFrame, row: str, metric: str) -> dict[str, float | None]:
    """``100 (Base - row) / Base`` with the interval of the paired difference over Base's value, taken as exact.

    Empty where either was not measured or Base is not positive (a bias-corrected FAD can be below zero); 0 for Base itself.
    """
    nothing: dict[str, float | None] = {"": None, "_low": None, "_high": None, "_p": None}
    if (BASE, metric) not in cells.index or (row, metric) not in cells.index:
        return nothing
    against, mine = cells.loc[(BASE, metric)], cells.loc[(row, metric)]
    if not against["value"] > 0:
        return nothing
    if row == BASE:
        return nothing | {"": 0.0}
    scale = -100 / against["value"]
    return {
        "": scale * (mine["value"] - against["value"]),
        "_low": scale * mine["difference_high"],
        "_high": scale * mine["difference_low"],
        "_p": mine["difference_p"],
    }


def layout(frame: pd.DataFrame, fads: Sequence[Metric]) -> list[Grid]:
    """The table as text: layers and weights, then distances."""
    lines = [line for _, line in frame.iterrows()]
    header = ("method", "layers, speech", "weights, speech", "layers, audio", "weights, audio", "paper: layers")
    columns = ("layers_speech", "weights_speech", "layers_audio", "weights_audio", "paper_layers")
    run = run_domains(frame, fads)
    missing = {f"{name}_{domain}" for domain in DOMAINS if domain not in run for name in ("layers", "weights")}
    layers = tuple((line["method"], *(NOT_RUN if c in missing else listed(line[c]) for c in columns)) for line in lines)
    grids = [Grid("Layers and weights", header, layers, ("",) * len(header))]
    for domain in DOMAINS:
        mine = of_domain(fads, domain)
        rows = []
        for line in lines:
            texts = [line["method"]]
            for metric in mine:
                name = metric.name
                texts += [interval(line[name], line[f"{name}_low"], line[f"{name}_high"]) if domain in run else NOT_RUN]
                texts.append(counted(line[f"{name}_n"], line[f"{name}_unit"], domain))
            name = f"relative_gain_{domain}"
            texts.append(interval(line[name], line[f"{name}_low"], line[f"{name}_high"], signed=True))
            texts.append(printed(line[f"paper_{domain}_fad"]))
            if domain == "speech":
                texts.append(printed(line["paper_relative_gain"]))
            rows.append(tuple(texts))
        titles = [(title, m.name if i == 0 else "") for m in mine for i, title in enumerate((m.title, "n"))]
        titles += [(f"gain over Base (%, {mine[0].embedding})", ""), (mine[0].paper_title, "")]
        titles += [("paper: gain over Base (%)", "")] if domain == "speech" else []
        name = "Speech" if domain == "speech" else "General audio"
        grids.append(Grid(name, ("method", *(t[0] for t in titles)), tuple(rows), ("", *(t[1] for t in titles))))
    return grids


def reading(frame: pd.DataFrame, fads: Sequence[Metric]) -> str:
    """The measured order by speech FAD beside the paper's, and which gains hold after Holm's correction."""
    fad = of_domain(fads, "speech")[0].name
    ranked = frame[frame[fad].notna()]
    if len(ranked) < 2:
        return "Fewer than two strategies were run: there is no order to read."
    order = [
        list(ranked.dropna(subset=column).sort_values(column, kind="stable")["method"]) for column in (fad, "paper_speech_fad")
    ]
    gains = [
        (line.method, domain, getattr(line, f"relative_gain_{domain}"), getattr(line, f"relative_gain_{domain}_p"))
        for domain in DOMAINS
        for line in frame.itertuples()
        if getattr(line, f"relative_gain_{domain}_p") == getattr(line, f"relative_gain_{domain}_p")  # is not NaN
    ]
    adjusted = holm([p for *_, p in gains])
    sure = [
        f"{method} ({domain}, {'better' if gained > 0 else 'worse'})"
        for (method, domain, gained, _), p in zip(gains, adjusted, strict=True)
        if p < CHANCE
    ]
    held = "gains over Base that hold after Holm's correction"
    verdict = f"{held}: {', '.join(sure)}" if sure else "no gain over Base holds after Holm's correction"
    return f"Best first by speech FAD: measured {', '.join(order[0])}; paper {', '.join(order[1])}; {verdict}."
