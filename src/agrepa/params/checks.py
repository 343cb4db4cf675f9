"""What no room can check by itself: every name in an experiment stands for something, and no count asks for more than there is.

Nothing is imported for it: which modules there are, and what they state about themselves, is read from their files.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import comb
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agrepa.params import references
from agrepa.params.arms import RESERVED, WITHOUT_PROBE
from agrepa.params.base import Key, Slip, kinds, stated
from agrepa.params.evaluation import FEWEST_CLIPS

if TYPE_CHECKING:
    from agrepa.params.arms import Arm
    from agrepa.params.experiment import Experiment


def slips(p: Experiment, package: Path) -> Iterator[Slip]:
    """Every slip of an experiment; ``package`` is where the modules lie that it names."""
    yield from unknown_kinds(p, package)
    yield from too_small_models(p, package)
    yield from wrong_sources(p, package)
    yield from wrong_strategies(p, package)
    yield from wrong_arms(p, package)
    yield from references.slips(p, package)
    yield from wrong_spectrogram(p, package)
    yield from wrong_prompt(p)
    yield from wrong_times(p)
    yield from too_many_clips(p)


def unknown_kinds(p: Experiment, package: Path) -> Iterator[Slip]:
    """Kinds that have no module."""
    sources, encoders = p.corpora.sources.items(), p.encoders.items()
    named: list[tuple[str, str, list[tuple[Key, str]]]] = [
        ("corpora", "clips", [(("corpora", "sources", name, "kind"), source.kind) for name, source in sources]),
        ("encoders", "load", [(("encoders", name, "kind"), encoder.kind) for name, encoder in encoders]),
        ("model", "build", [*backbones(p)]),
        ("audio/vocoders", "load", [(("evaluation", "vocoder", "kind"), p.evaluation.vocoder.kind)]),
        ("probes", "run", [(("probes", name), name) for name in p.probes.grids()]),
    ]
    for key, room in (("target", "targets"), ("head", "heads"), ("schedule", "schedules"), ("refresh", "layers")):
        chosen: list[tuple[Key, str]] = [(("rows", name, key), getattr(arm, key)) for name, arm in p.rows.items()]
        named.append((f"alignment/{room}", "build", chosen))
    for folder, function, found in named:
        there = references.encoder_kinds(package) if folder == "encoders" else kinds(folder, function, package)
        there = [kind for kind in there if (folder, kind) != ("model", "backbone")]  # what all backbones are, itself none
        for where, kind in found:
            if kind not in there:
                yield Slip(where, f"there is no such kind: agrepa/{folder} has {', '.join(there) or 'none'}", kind)


def backbones(p: Experiment) -> Iterator[tuple[Key, str]]:
    """Where a kind of model is named, and which."""
    yield ("model", "kind"), p.model.kind
    yield from ((("rows", name, "backbone"), arm.backbone) for name, arm in p.rows.items() if arm.backbone)


def too_small_models(p: Experiment, package: Path) -> Iterator[Slip]:
    """Sizes that a backbone cannot do with. One that needs more than the schema asks of all states so in LEAST."""
    known = kinds("model", "build", package)
    used = [p.model.kind, *(arm.backbone for name, arm in p.rows.items() if name in p.arms and arm.backbone)]
    for kind in dict.fromkeys(kind for kind in used if kind in known):
        for key, least in (stated("model", kind, "LEAST", package) or {}).items():
            if (found := attrgetter(key)(p.model)) < least:
                yield Slip(("model", *key.split(".")), f"a model of kind {kind} needs {least} at least: raise it", found)


def wrong_sources(p: Experiment, package: Path) -> Iterator[Slip]:
    """Keys of a source that its kind does not have, or has and needs: its module states them as KEYS."""
    for name, source in p.corpora.sources.items():
        if source.kind not in kinds("corpora", "clips", package):
            continue
        has, where = stated("corpora", source.kind, "KEYS", package) or ("archives",), ("corpora", "sources", name)
        for key in [*(["archives"] if source.archives else []), *source.published()]:
            if key not in has:
                message = f"kind {source.kind} has no such key: it has {', '.join(has)}"
                yield Slip((*where, key), message, getattr(source, key))
        if "subsets" in has and source.subsets is None:
            yield Slip((*where, "subsets"), f"is missing: say which parts of {source.kind} train, validate and test", None)
        if source.pairs is not None and source.subsets is not None and not source.subsets.test:
            yield Slip((*where, "pairs"), "lists utterances of the test split, of which subsets.test names none", source.pairs)


def wrong_strategies(p: Experiment, package: Path) -> Iterator[Slip]:
    """Strategies that are no probe, and arms whose probe the experiment does not run."""
    modules = kinds("probes", "run", package)
    known = [*WITHOUT_PROBE, *(probe for probe in p.probes.grids() if probe in modules)]
    for name, arm in p.rows.items():
        if arm.strategy not in (*WITHOUT_PROBE, *modules):
            message = f"there is no such strategy and no such probe: choose from {', '.join(known)}"
            yield Slip(("rows", name, "strategy"), message, arm.strategy)
        elif name in p.arms and arm.strategy not in known:
            message = f"the experiment runs no such probe: add probes.{arm.strategy} with its clips and times"
            yield Slip(("rows", name, "strategy"), message, arm.strategy)


def reached(p: Experiment, arm: Arm, package: Path) -> int:
    """Of how many layers an arm may take some. A probe that scores every n-th from the first alone states n as EVERY."""
    probed = arm.strategy in kinds("probes", "run", package)
    every = (stated("probes", arm.strategy, "EVERY", package) if probed else None) or 1
    return len(range(1, p.model.depth - arm.looks_deeper + 1, every))


def wrong_arms(p: Experiment, package: Path) -> Iterator[Slip]:
    """Arms that are not there, lack what they are compared with, or ask for layers that the model does not have."""
    for name in sorted(RESERVED & set(p.rows)):
        yield Slip(("rows", name), "the tables and curves have a row of that name already: choose another", name)
    for i, arm in enumerate(p.arms):
        if arm not in p.rows:
            yield Slip(("arms", i), f"is not in arms.yaml, which has: {', '.join(p.rows)}", arm)
    if "base" not in p.arms or ("base" in p.rows and (p.rows["base"].strategy != "none" or p.rows["base"].backbone)):
        yield Slip(("arms",), "must have 'base' with strategy none, on model.kind: every difference is taken to it", p.arms)
    for name in [arm for arm in p.arms if arm in p.rows and p.rows[arm].backbone]:
        kind = p.rows[name].backbone
        if not any(arm in p.rows and p.rows[arm].backbone == kind and p.rows[arm].strategy == "none" for arm in p.arms):
            message = (
                f"arm {name!r} is compared with an arm on {kind} with strategy none, and the experiment has none: add one to arms"
            )
            yield Slip(("rows", name, "backbone"), message, kind)
    if p.control not in p.arms:
        yield Slip(("control",), "must be one of the arms: its model is the one that gets foreign tokens", p.control)
    depth = p.model.depth
    for name in [arm for arm in p.arms if arm in p.rows]:
        row = p.rows[name]
        if row.sampling_points and p.evaluation.sampling.steps == 1:
            message = "makes no step of evaluation.sampling.steps 1, a single point: raise that, or remove it"
            yield Slip(("rows", name, "sampling_points"), message, row.sampling_points)
        most = reached(p, row, package)
        if row.k is not None and row.k > most:
            there = f"{most} that have a deeper one to agree with" if row.looks_deeper else str(depth)
            if most < depth - row.looks_deeper:
                there = f"{most} that {row.strategy} scores"
            message = f"arm {name!r} asks for k = {row.k} layers and the model has {there}: lower k or raise model.depth"
            yield Slip(("rows", name, "k"), message, row.k)
        elif row.k is not None and row.draw >= (sets := comb(most, row.k)):
            message = f"there are {sets} sets of {row.k} layers of {most}, and draws count from 0: lower it"
            yield Slip(("rows", name, "draw"), message, row.draw)
        if (rule := row.layers) is None:
            continue
        for key, count, limit in (("shallow", rule.shallow, depth), ("deep", rule.deep, depth - 2)):
            if count is not None and count > limit:
                message = f"a model of {depth} layers has {limit} of them: lower it or raise model.depth"
                yield Slip(("rows", name, "layers", key), message, count)
        if row.looks_deeper and (rule.shallow == depth or max(rule.fractions or [0]) * depth + 0.5 >= depth):
            message = f"layer {depth} is the last of the model and has no deeper one to agree with: choose other layers"
            yield Slip(("rows", name, "target"), message, row.target)


def wrong_spectrogram(p: Experiment, package: Path) -> Iterator[Slip]:
    """A spectrogram that the clips or the vocoder do not allow. A vocoder that is trained states its FRONT_END."""
    rate, half = p.corpora.sample_rate, p.mel.n_fft // 2
    if p.mel.f_max > rate / 2:
        yield Slip(("mel", "f_max"), f"is above half of corpora.sample_rate {rate}: lower it", p.mel.f_max)
    if p.corpora.min_seconds * rate <= half:
        message = f"the spectrogram mirrors {half} samples at the ends of a clip: raise it above {half / rate:g}"
        yield Slip(("corpora", "min_seconds"), message, p.corpora.min_seconds)
    vocoder, key = p.evaluation.vocoder, ("evaluation", "vocoder")
    if vocoder.kind not in kinds("audio/vocoders", "load", package):
        return
    front = stated("audio/vocoders", vocoder.kind, "FRONT_END", package) or {}
    if bool(front) != (vocoder.archive is not None):
        needs = "needs an archive: name that of its weights in archives.yaml" if front else "reads no archive: remove it"
        yield Slip((*key, "archive"), f"vocoder {vocoder.kind} {needs}", vocoder.archive)
    given = {"sample_rate": rate} | p.mel.model_dump()
    if wrong := [f"{name} is {given[name]} and must be {value}" for name, value in front.items() if given[name] != value]:
        message = f"was trained on another spectrogram: {', '.join(wrong)}; change mel and corpora, or use griffin_lim"
        yield Slip((*key, "kind"), f"vocoder {vocoder.kind} {message}", vocoder.kind)


def wrong_prompt(p: Experiment) -> Iterator[Slip]:
    """A prompt that is no utterance, or one for a model that was never shown a reference; or none, where voices are compared."""
    if (prompt := p.evaluation.prompt) is None:
        if p.evaluation.similarity is not None:
            message = "is taken to the prompt's own recording, and there is no prompt: set evaluation.prompt, or similarity: null"
            yield Slip(("evaluation", "similarity"), message, p.evaluation.similarity)
        return
    if prompt.seconds < p.corpora.min_seconds:
        message = f"no utterance is as short, corpora.min_seconds is {p.corpora.min_seconds}: raise it, or set prompt: null"
        yield Slip(("evaluation", "prompt", "seconds"), message, prompt.seconds)
    if p.training.reference_dropout == 1 or p.training.reference_fraction == 0:
        message = (
            "training never shows the model a reference: lower training.reference_dropout or raise training.reference_fraction, "
            "or set prompt: null"
        )
        yield Slip(("evaluation", "prompt"), message, prompt)


def wrong_times(p: Experiment) -> Iterator[Slip]:
    """Times of FoG-A's controls at which FoG-A itself is not taken."""
    for place, time in enumerate(p.probes.fog_a.control_times):
        if time not in p.probes.fog_a.times:
            message = (
                "FoG-A is not taken at this time, and its controls need it there: add it to probes.fog_a.times, or remove it"
            )
            yield Slip(("probes", "fog_a", "control_times", place), message, time)


def too_many_clips(p: Experiment) -> Iterator[Slip]:
    """Counts above what they are taken from; a split that takes all there are may have any number."""
    evaluation, evaluated = p.evaluation, p.evaluation.split
    counts: list[tuple[Key, int, str, tuple[str, ...]]] = [
        (("evaluation", f"{part}_clips"), getattr(evaluation, f"{part}_clips"), evaluated, (part,))
        for part in ("speech", "audio", "unseen")
    ]
    counts += [(("evaluation", "frechet", "reference_clips"), evaluation.frechet.reference_clips, "train", p.domains)]
    counts += [(("probes", name, "clips"), grid.clips, "validation", p.domains) for name, grid in p.probes.grids().items()]
    counts += [(("probes", "fog_a", "trend_clips"), p.probes.fog_a.trend_clips, "validation", p.domains)]
    for key, count, split, domains in counts:
        limits = {domain: getattr(getattr(p.corpora, split), domain) for domain in domains}
        limits = {domain: limit for domain, limit in limits.items() if limit is not None and limit < count}
        if limits:
            asked = " and ".join(f"{limit} {domain} clips" for domain, limit in limits.items())
            message = f"the {split} split asks for {asked}: lower it or raise corpora.{split}.{' and '.join(limits)}"
            yield Slip(key, message, count)
    if "audio" in p.domains and evaluation.audio_clips < FEWEST_CLIPS:
        message = f"FAD needs {FEWEST_CLIPS} clips: raise it, or set audio to 0 in every split of corpora"
        yield Slip(("evaluation", "audio_clips"), message, evaluation.audio_clips)
    fewest = min(getattr(evaluation, f"{domain}_clips") for domain in p.domains)
    if p.reporting.listening_clips > fewest:
        message = f"an arm makes {fewest} clips of a domain: lower it or raise evaluation.speech_clips and audio_clips"
        yield Slip(("reporting", "listening_clips"), message, p.reporting.listening_clips)
    keys = ("speech", "audio", "unseen")
    asked_for: list[Any] = [getattr(getattr(p.corpora, name), k, 0) for name in ("train", "validation", "test") for k in keys]
    if None not in asked_for and p.shards > sum(asked_for):
        message = f"the splits ask for {sum(asked_for)} clips, and a shard needs one at least: lower it"
        yield Slip(("shards",), message, p.shards)
