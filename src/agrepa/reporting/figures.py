"""Stage ``figures``: every figure of an experiment, drawn from what it collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agrepa.domains import DOMAINS
from agrepa.job import In, Out
from agrepa.reporting import figures_curves, figures_listening, figures_scd
from agrepa.reporting.collected import labels, read_probe, read_scores, read_selections, read_trend, selected
from agrepa.reporting.kept_clips import read_clips
from agrepa.reporting.metrics import metrics

if TYPE_CHECKING:
    from agrepa.params.stages import FiguresSettings

FIGURES = {
    "scd_heatmap.png": "Heat maps over layer and flow time: FoG-A and LASP, for speech and for general audio.",
    "store_vs_contribute.png": "Every layer as a point, LASP across and FoG-A up, with intervals.",
    "layer_importance.png": "Bars of FoG-A per layer with intervals; the selected layers are marked.",
    "fog_a_trend.png": "FoG-A per layer over the warm-up, the three leading layers at every probe, and whether that had settled.",
    "loss_curves.png": "Training and validation flow-matching loss over the steps of the warm-up and of every arm.",
    "spectrograms.png": "Log-mel spectrograms of the listening clips, one line per row of the tables.",
    "scores.png": "Every metric as dots with intervals, one line per row of the tables.",
    "differences.png": "The paired difference of every row to Base as dots with intervals, with a line at zero.",
}


def run(p: FiguresSettings, *, scores: In, probes: In, selections: In, curves: In, trend: In, listening: In, out: Out) -> None:
    """The paper's figures, and curves, spectrograms and intervals.

    Args:
        scores: ``scores.csv``; probes, selections: folders of one JSON each; curves, trend: CSV; listening: folder of clips.
        out: folder of the PNG files of ``FIGURES``.

    Raises ArtifactError naming the file when a figure's data is missing.
    """
    fog_a, lasp = read_probe(probes, "fog_a"), read_probe(probes, "lasp")
    found, chosen, clips = read_scores(scores), read_selections(selections), read_clips(listening)
    note, measured = p.data_note, metrics(p.embeddings, p.encoders, set(found["metric"]))
    names = labels(p.rows, list(found["row"]))
    arms = {row: label for row, label in names.items() if row in p.rows}
    followers = [arm for arm in arms if p.rows[arm].strategy == "fog_a" and p.rows[arm].ranked_by == "score"]
    by_fog_a = next((arm for arm in followers if arm in chosen), None)
    marked = {domain: selected(chosen[by_fog_a], domain) if by_fog_a else [] for domain in DOMAINS}
    layers = {domain: sorted({layer for layers, _ in found for layer in layers}) for domain, found in marked.items()}
    shown = labels(p.rows, sorted({row for clip in clips for row in clip.mels}))
    out.mkdir()
    figures_scd.heat_maps(fog_a, lasp, note, out / "scd_heatmap.png")
    figures_scd.store_against_contribute(fog_a, lasp, note, out / "store_vs_contribute.png")
    figures_scd.importance(fog_a, layers, note, out / "layer_importance.png")
    figures_scd.trend(read_trend(trend, fog_a), list(fog_a), p.settled, note, out / "fog_a_trend.png")
    figures_curves.loss_curves(curves, arms, list(fog_a), note, out / "loss_curves.png")
    figures_listening.spectrograms(clips, shown, note, out / "spectrograms.png")
    figures_curves.score_dots(found, measured, names, list(arms), note, out / "scores.png")
    figures_curves.difference_dots(found, measured, names, list(arms), note, out / "differences.png")
