"""Figures of the probes: what the layers store and what they contribute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.stats import spearmanr

from agrepa.reporting.collected import settling
from agrepa.reporting.probed import Probe
from agrepa.reporting.style import DOMAIN_COLOURS, DOMAIN_NAMES, GREY, SEQUENTIAL, drawing, layer_ticks, whiskers

TOP = 3


def heat_maps(fog_a: dict[str, Probe], lasp: dict[str, Probe], note: str, path: Path) -> None:
    """Layer by flow time: FoG-A above, LASP below, speech left, general audio right."""
    panels = [("FoG-A", fog_a, "relative change of the velocity"), ("LASP", lasp, "cosine to the teacher")]
    with drawing(path, "Which layers contribute (FoG-A) and which store (LASP), over flow time t", note, (8, 7)) as figure:
        axes = figure.subplots(2, len(fog_a), squeeze=False)
        for line, (name, probe, unit) in zip(axes, panels, strict=True):
            for axis, domain in zip(line, fog_a, strict=True):
                found = probe[domain]
                image = axis.imshow(found.by_time, aspect="auto", origin="lower", cmap=SEQUENTIAL, interpolation="nearest")
                axis.set_title(f"{name}, {DOMAIN_NAMES[domain]} ({found.clips} clips)")
                axis.set_xticks(range(len(found.times)), [f"{time:g}" for time in found.times])
                ticks = [tick for tick in layer_ticks(max(found.layers)) if tick in found.layers]
                axis.set_yticks([found.at(tick) for tick in ticks], [f"L{tick}" for tick in ticks])
                axis.set_xlabel("t (0: noise, 1: data)")
                axis.set_ylabel("layer")
                axis.spines[:].set_visible(False)
                figure.colorbar(image, ax=axis, label=unit, fraction=0.05)


def store_against_contribute(fog_a: dict[str, Probe], lasp: dict[str, Probe], note: str, path: Path) -> None:
    """Every layer as a numbered point: LASP across, FoG-A up, with both intervals."""
    with drawing(path, "Does a layer that stores also contribute?", note, (9, 4.6)) as figure:
        for axis, domain in zip(figure.subplots(1, len(fog_a), squeeze=False).flat, fog_a, strict=True):
            knows, uses = lasp[domain], fog_a[domain]
            at = [knows.at(layer) for layer in uses.layers]
            x = knows.score[at]
            axis.errorbar(
                x, uses.score, xerr=whiskers(x, knows.low[at], knows.high[at]), yerr=whiskers(uses.score, uses.low, uses.high),
                fmt="none", ecolor=GREY, elinewidth=0.7,
            )  # fmt: skip
            points = axis.scatter(
                x, uses.score, c=uses.layers, cmap=SEQUENTIAL, s=150, edgecolors="black", linewidths=0.5, zorder=3
            )
            for layer, across, up, colour in zip(uses.layers, x, uses.score, points.to_rgba(uses.layers), strict=True):
                ink = "white" if colour[:3].mean() < 0.5 else "black"
                axis.annotate(f"{layer}", (across, up), ha="center", va="center", fontsize=7, color=ink, zorder=4)
            if uses.low.min() > 0:  # a few layers lead by far; the logarithm keeps the others apart
                axis.set_yscale("log")
                axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.yaxis.set_major_formatter("{x:g}")
                axis.yaxis.set_minor_formatter(NullFormatter())
            correlation = spearmanr(x, uses.score).statistic
            axis.set_title(f"{DOMAIN_NAMES[domain]}: rank correlation {correlation:+.2f} over {len(x)} layers")
            axis.set_xlabel("LASP: cosine to the teacher (stores)")
            axis.set_ylabel("FoG-A: relative change of the velocity (contributes)")
            axis.margins(0.1)
        figure.colorbar(points, ax=figure.axes, label="layer", fraction=0.03, ticks=layer_ticks(max(uses.layers)))


def importance(fog_a: dict[str, Probe], marked: dict[str, list[int]], note: str, path: Path) -> None:
    """FoG-A of every layer as bars with intervals; the layers that the FoG-A arm aligns, in any seed, are hatched and named."""
    with drawing(path, "FoG-A of every layer, and the layers that it selects", note, (8, 5.6)) as figure:
        for axis, domain in zip(figure.subplots(len(fog_a), 1, sharex=True, squeeze=False).flat, fog_a, strict=True):
            found, chosen = fog_a[domain], marked[domain]
            bars = axis.bar(
                found.layers, found.score, color=DOMAIN_COLOURS[domain], alpha=0.45,
                yerr=whiskers(found.score, found.low, found.high), error_kw={"elinewidth": 1, "capsize": 2.5},
            )  # fmt: skip
            for layer, bar in zip(found.layers, bars, strict=True):
                if layer in chosen:
                    bar.set(alpha=1, hatch="//", edgecolor="white")
                    axis.annotate(
                        f"L{layer}", (layer, found.high[found.at(layer)]), xytext=(0, 3), textcoords="offset points",
                        ha="center", fontsize=8, fontweight="bold",
                    )  # fmt: skip
            words = f"selected: {', '.join(f'L{layer}' for layer in chosen)}" if chosen else "no arm selects layers by FoG-A here"
            axis.set_title(f"{DOMAIN_NAMES[domain]} ({found.clips} clips); {words}")
            axis.set_ylabel("FoG-A")
            axis.set_xticks(layer_ticks(max(found.layers)))
            axis.margins(y=0.15)
        axis.set_xlabel("layer")


def trend(table: pd.DataFrame, domains: list[str], settled: float, note: str, path: Path) -> None:
    """FoG-A over the warm-up: the scores above, below the best three layers at every probe and whether the order had settled.

    Args:
        table: step, domain, layer, score and rank_correlation.
        domains: those that were probed.
        settled: rank correlation of the last two probes from which on the order of the layers counts as settled.
    """
    with drawing(path, "FoG-A over the warm-up: which three layers lead", note, (8.5, 6)) as figure:
        axes = figure.subplots(2, len(domains), sharex=True, height_ratios=(3, 2), squeeze=False)
        for column, domain in enumerate(domains):
            _trend_panels(axes[0][column], axes[1][column], table[table["domain"] == domain], domain)
            axes[1][column].set_title(settling(table, domain, settled), fontsize=8)


def _trend_panels(above, below, mine: pd.DataFrame, domain: str) -> None:  # type: ignore[no-untyped-def]
    scores = mine.pivot_table(index="step", columns="layer", values="score").sort_index()
    steps, layers = scores.index.to_numpy(), [int(layer) for layer in scores.columns]
    order = np.argsort(-scores.to_numpy(), axis=1, kind="stable")
    last = [layers[i] for i in order[-1][:TOP]]
    for layer in layers:
        rank = last.index(layer) if layer in last else None
        look = {"color": GREY, "alpha": 0.35, "linewidth": 0.8}
        if rank is not None:
            look = {"color": DOMAIN_COLOURS[domain], "linewidth": 2, "linestyle": ("-", "--", ":")[rank], "label": f"L{layer}"}
        above.plot(steps, scores[layer], **look)
    above.set_title(f"{DOMAIN_NAMES[domain]}: the last probe's best three in colour")
    above.set_ylabel("FoG-A")
    above.legend()
    values = np.take_along_axis(scores.to_numpy(), order, axis=1)
    for rank, (size, shade) in enumerate(((70, 1.0), (45, 0.7), (25, 0.45))):
        ranked = values[:, rank] > 0  # at initialisation adaLN-Zero gates every layer off: all tie at 0 and none leads
        leaders = np.asarray(layers)[order[ranked, rank]]
        below.scatter(steps[ranked], leaders, s=size, color=DOMAIN_COLOURS[domain], alpha=shade, label=f"rank {rank + 1}")
    below.set_ylim(0.2, 1.2 * max(layers) + 1)  # room for the legend
    below.set_yticks(layer_ticks(max(layers)), [f"L{tick}" for tick in layer_ticks(max(layers))], fontsize=7)
    below.set_xlim(above.get_xlim())
    below.set_xlabel("warm-up step")
    below.set_ylabel("layer")
    below.grid(axis="y", linewidth=0.3)
    below.legend(loc="upper right", ncols=TOP, handletextpad=0.1, columnspacing=0.8)
