"""A small made-up set of collected results, from which the tests of the reporting make tables, figures and the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from safetensors.numpy import save_file

from agrepa.params import Experiment
from agrepa.params.stages import Settings
from agrepa.pipeline import keys
from agrepa.reporting import claims, tables

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "results" / "paper"
DEPTH, TIMES = 12, [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95]
ARMS = ("base", "repa_l8", "ag_repa")
ROWS = ("ground_truth", "copy_synthesis", *ARMS, "control")
LEVELS = {
    "speech_wer": (6.1, 9.0, 97.3, 96.1, 95.0, 101.2),
    "speech_uer": (0.0, 34.0, 82.0, 79.5, 77.9, 97.5),
    "speech_mos_distill": (4.21, 2.72, 1.61, 1.66, 1.7, 1.6),
    "speech_fad_yamnet": (0.4, 2.1, 14.0, 13.8, 13.3, 14.9),
    "speech_fad_aisfx": (-0.2, 30.1, 212.0, 208.0, 201.0, 215.0),
    "audio_fad_yamnet": (0.5, 1.6, 11.2, 11.4, 10.9, 12.0),
    "audio_fad_aisfx": (1.2, 20.1, 150.0, 149.0, 144.0, 160.0),
    "audio_uer": (0.0, 51.0, 88.0, 87.0, 86.0, 96.0),
}
SCORE_COLUMNS = [
    "row",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "seeds",
    "unit",
    "difference",
    "difference_low",
    "difference_high",
    "difference_p",
    "card",
]


CORRELATIONS = [("fog_a", control) for control in ("update_size", "mean_ablation", "depth")]
CORRELATIONS += [("update_size", "depth"), ("mean_ablation", "depth")]


def settings(experiment: Experiment, stage: str, **wildcards: str) -> Settings:
    """What the stage may read of the experiment."""
    return keys.settings(stage, experiment, wildcards)


def made_scores() -> pd.DataFrame:
    """A scores.csv without CER: AG-REPA surely beats Base in speech UER, nothing else differs; the control is worse in it."""
    lines = []
    for metric, values in LEVELS.items():
        file = metric.split("_", 1)[1].replace("mos_distill", "mos").replace("uer", "units")
        for row, value in zip(ROWS, values, strict=True):
            line = {"row": row, "metric": metric, "value": value, "low": value - 1.5, "high": value + 1.75, "seeds": 1}
            line["n"], line["unit"] = 110 if row in ROWS[:2] else 40, "family"
            line["card"] = f"work/demo/metrics/{row}/seed0/{file}.json.card.json"
            if row in ("repa_l8", "ag_repa", "control") or (row in ROWS[:2] and "fad" in metric):
                margin = 1 if (metric == "speech_uer" and row != "repa_l8") or row in ROWS[:2] else 20
                gap = value - values[2]
                line |= {"difference": gap, "difference_low": gap - margin, "difference_high": gap + margin}
                line["difference_p"] = 0.0001 if abs(gap) > margin else 0.5
            lines.append(line)
    return pd.DataFrame(lines)[SCORE_COLUMNS]


def made_pairs() -> pd.DataFrame:
    """A pairs.csv in which AG-REPA is better than REPA in no metric."""
    lines = [
        ("repa_l8", "ag_repa", metric, values[3] - values[4], values[3] - values[4] - 20, values[3] - values[4] + 20, 0.5, 40)
        for metric, values in LEVELS.items()
    ]
    columns = ["first", "second", "metric", "difference", "low", "high", "p", "n"]
    return pd.DataFrame(lines, columns=columns).assign(unit="family")


def made_probe(name: str, rng: np.random.Generator) -> dict[str, object]:
    """A probe of 12 layers: FoG-A falls with depth and peaks at 1, 2, 7; LASP grows with depth."""
    domains = {}
    for number, domain in enumerate(("speech", "audio")):
        depth = np.arange(1, DEPTH + 1)
        shape = 0.3 / depth + 0.1 * np.isin(depth, (1, 2, 7)) if name != "lasp" else 0.02 * depth + 0.03 * (depth == 8 + number)
        by_time = shape[:, None] * (1 + 0.3 * np.sin(np.pi * np.array(TIMES))) + 0.002 * rng.standard_normal((DEPTH, len(TIMES)))
        score = by_time.mean(1)
        ranking = [int(layer) + 1 for layer in np.argsort(-score)]
        domains[domain] = {
            "layers": depth.tolist(), "times": TIMES, "score": score.tolist(), "low": (score * 0.9).tolist(),
            "high": (score * 1.15).tolist(), "by_time": by_time.tolist(), "clips": 24, "ranking": ranking,
            "top_k_stability": [0.97 if layer in ranking[:2] else 0.8 if layer == ranking[2] else 0.05 for layer in depth],
        }  # fmt: skip
        if name == "fog_a":
            found = zip(CORRELATIONS, (0.875 - number / 2, 0.5, None, -0.25, -0.5), strict=True)
            pairs = [{"between": list(pair), "value": v, "low": v and v - 0.125, "high": v and v + 0.0625} for pair, v in found]
            domains[domain]["controls"] = {"times": [0.2, 0.8], "correlations": pairs}
    return {"probe": name, "seed": 0, "definition": "made up", "domains": domains}


def write_collected(folder: Path) -> Path:
    """A whole ``results/demo/scores`` as the stages before the reporting leave it."""
    rng = np.random.default_rng(7)
    (folder / "probes/seed0").mkdir(parents=True)
    made_scores().to_csv(folder / "scores.csv", index=False)
    made_pairs().to_csv(folder / "pairs.csv", index=False)
    for name in ("fog_a", "lasp", "gradient_norm"):
        (folder / "probes/seed0" / f"{name}.json").write_text(json.dumps(made_probe(name, rng)))
    (folder / "selections/seed0").mkdir(parents=True)
    picks = {"base": ("none", [], []), "repa_l8": ("fixed", [4], [1.0]), "ag_repa": ("fog_a", [1, 2, 7], [0.55, 0.3, 0.15])}
    for arm, (strategy, layers, weights) in picks.items():
        part = {"layers": layers, "weights": weights, "scores": None, "low": None, "high": None}
        data = {"arm": arm, "seed": 0, "strategy": strategy, "depth": DEPTH, "domains": {"speech": part, "audio": part}}
        (folder / "selections/seed0" / f"{arm}.json").write_text(json.dumps(data))
    steps = [0, 100, 200, 300, 400]
    agreement = {"speech": [None, None, 0.7, 0.85, 0.75], "audio": [None, None, 0.7, 0.75, 0.8]}
    lines = [
        (0, step, domain, layer, (0.3 / layer + 0.1 * (layer in (1, 2, 7))) * step / 400 + (0.01 * rng.random() if step else 0),
         agreement[domain][step // 100])
        for step in steps for domain in ("speech", "audio") for layer in range(1, DEPTH + 1)
    ]  # fmt: skip
    columns = ["seed", "step", "domain", "layer", "score", "rank_correlation"]
    pd.DataFrame(lines, columns=columns).to_csv(folder / "fog_a_trend.csv", index=False)
    _write_curves(folder, rng)
    _write_listening(folder / "listening", rng)
    return folder


def _write_curves(folder: Path, rng: np.random.Generator) -> None:
    lines = []
    for row, first, last in (("warmup", 0, 400), *((arm, 400, 1000) for arm in ARMS)):
        for step in range(first, last + 1, 10):
            loss = (
                0.3 + 0.9 * np.exp(-step / 150) - 0.01 * ARMS.index(row) * (step - 400) / 600
                if row in ARMS
                else 0.3 + 0.9 * np.exp(-step / 150)
            )
            if step > first:
                lines.append((row, 0, step, "train_flow", loss + 0.04 * rng.standard_normal()))
            if step % 100 == 0:
                for series, shift in (("validation_flow", 0), ("validation_flow_speech", -0.02), ("validation_flow_audio", 0.02)):
                    lines.append((row, 0, step, series, loss + shift))
    pd.DataFrame(lines, columns=["row", "seed", "step", "series", "value"]).to_csv(folder / "curves.csv", index=False)


def _write_listening(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir()
    lines, mels = [], {}
    for number in range(6):
        speech, seconds = number < 3, 1.0 + 0.25 * number
        clip = f"queen_{number:03d}" if speech else f"ufoai_{number:03d}"
        text, label = ("You must be the new pilot <from> Rio & friends.", "") if speech else ("", "door & hinge")
        lines.append((clip, "speech" if speech else "audio", "joe" if speech else "wind", text, label, seconds))
        frames = int(62.5 * seconds)
        for row in ROWS:
            waves = np.sin(np.arange(frames)[:, None] / 5 + number) + np.cos(np.arange(80)[None] / 9)
            noise = 15 * rng.standard_normal((frames, 80))
            mels[f"{row}/{clip}"] = np.clip(128 + 50 * waves + noise, 0, 255).astype(np.uint8)
            if row in (*ARMS, "control"):
                file = folder / "audio" / row / f"{clip}.flac"
                file.parent.mkdir(parents=True, exist_ok=True)
                phase = 2 * np.pi * (200 + 50 * number) * np.arange(int(16000 * seconds)) / 16000
                soundfile.write(file, 0.2 * np.sin(phase), 16000, subtype="PCM_16")
    columns = ["clip", "domain", "family", "text", "label", "seconds"]
    pd.DataFrame(lines, columns=columns).to_csv(folder / "clips.csv", index=False)
    save_file(mels, folder / "mels.safetensors")
    (folder / "mels.json").write_text('{"min": -11.5, "max": 4.0}')


def judge(experiment: Experiment, collected: Path, out: Path) -> None:
    """The verdicts on the claims of what was collected: claims.md and claims.csv of a folder."""
    claims.run(
        settings(experiment, "claims"),
        scores=collected / "scores.csv",
        pairs=collected / "pairs.csv",
        probes=collected / "probes",
        trend=collected / "fog_a_trend.csv",
        curves=collected / "curves.csv",
        out=out / "claims.md",
        table=out / "claims.csv",
    )


def make(experiment: Experiment, collected: Path, out: Path) -> None:
    """Tables of what was collected, and of the run cards in its folder ``cards`` where there is one."""
    tables.run(
        settings(experiment, "tables"),
        scores=collected / "scores.csv",
        pairs=collected / "pairs.csv",
        probes=collected / "probes",
        trend=collected / "fog_a_trend.csv",
        curves=collected / "curves.csv",
        selections=collected / "selections",
        cards=collected / "cards",
        paper=PAPER,
        out=out,
    )
