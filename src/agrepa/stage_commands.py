"""The stages as subcommands: what each takes and leaves, and which module does it. No logic."""

from __future__ import annotations

from typing import Any

from agrepa.subcommand import In, Ins, Out, Params, State, Wildcard, stage


@stage
def fetch(params: Params, archive: Wildcard, out: Out) -> None:
    """Download one pinned archive and check its hash."""
    from agrepa.corpora import fetch

    fetch.run(params, archive, out)


@stage
def prepare(params: Params, archives: Ins, manifest: Out, clips: Out) -> None:
    """Parse the corpora into a manifest and clips at one rate and bandwidth."""
    from agrepa.corpora import prepare

    prepare.run(params, archives, manifest, clips)


@stage
def attribution(params: Params, manifest: In, out: Out) -> None:
    """Write whose recordings and models these are."""
    from agrepa.corpora import attribution

    attribution.run(params, manifest, out)


@stage
def mel(params: Params, shard: Wildcard, manifest: In, clips: In, out: Out) -> None:
    """Log-mel spectrograms of one shard."""
    from agrepa.audio import mel_features

    mel_features.run(params, shard, manifest, clips, out)


@stage
def mel_statistics(params: Params, manifest: In, mel: Ins, out: Out) -> None:
    """Mean and standard deviation of the training split's log-mel values."""
    from agrepa.audio import mel_statistics

    mel_statistics.run(params, manifest, mel, out)


@stage
def encode(params: Params, encoder: Wildcard, shard: Wildcard, manifest: In, clips: In, archives: Ins, out: Out) -> None:
    """Features of one shard from one frozen network."""
    from agrepa.encoders import extract

    extract.run(params, encoder, shard, manifest, clips, archives, out)


@stage
def codebook(params: Params, stream: Wildcard, manifest: In, features: Ins, out: Out) -> None:
    """Fit one stream's codebook on the training split."""
    from agrepa.tokens import codebook

    codebook.run(params, stream, manifest, features, out)


@stage
def tokenize(
    params: Params, shard: Wildcard, manifest: In, whisper: Ins, yamnet: Ins, speech: In, audio: In, second: In, out: Out
) -> None:
    """Token ids of one shard."""
    from agrepa.tokens import tokenize

    tokenize.run(params, shard, manifest, whisper, yamnet, speech, audio, second, out)


@stage
def warmup(params: Params, state: State, checkpoint: Out, log: Out, snapshots: Out, **sources: Any) -> None:
    """Phase I: train Base with BiT-C."""
    from agrepa.training import warmup

    warmup.run(params, state, checkpoint, log, snapshots, **sources)


@stage
def fog_a(params: Params, warmup: In, out: Out, **sources: Any) -> None:
    """FoG-A of the frozen warm-up checkpoint: what each layer uses."""
    from agrepa.probes import fog_a

    fog_a.run(params, warmup, out, **sources)


@stage
def fog_a_trend(params: Params, snapshots: In, out: Out, **sources: Any) -> None:
    """FoG-A along the warm-up."""
    from agrepa.probes import fog_a

    fog_a.trend(params, snapshots, out, **sources)


@stage
def lasp(params: Params, warmup: In, out: Out, **sources: Any) -> None:
    """LASP of the frozen warm-up checkpoint: what each layer knows."""
    from agrepa.probes import lasp

    lasp.run(params, warmup, out, **sources)


@stage
def gradient_norm(params: Params, warmup: In, out: Out, **sources: Any) -> None:
    """Gradient norm of each layer of the frozen warm-up checkpoint."""
    from agrepa.probes import gradient_norm

    gradient_norm.run(params, warmup, out, **sources)


@stage
def select(params: Params, arm: Wildcard, probe: Ins, out: Out) -> None:
    """Layers and weights of one arm."""
    from agrepa import selection

    selection.run(params, arm, probe[0] if probe else None, out)


@stage
def train(
    params: Params,
    arm: Wildcard,
    seed: Wildcard,
    warmup: In,
    selection: In,
    state: State,
    checkpoint: Out,
    log: Out,
    **sources: Any,
) -> None:
    """Phase II: train one arm from the warm-up checkpoint."""
    from agrepa.training import arm as phase_two

    phase_two.run(params, arm, seed, warmup, selection, state, checkpoint, log, **sources)


@stage
def anchor(params: Params, row: Wildcard, manifest: In, clips: In, mel: Ins, archives: Ins, out: Out) -> None:
    """Audio of an anchor row: ground truth or copy synthesis."""
    from agrepa.evaluation import anchors

    anchors.run(params, row, manifest, clips, mel, archives, out)


@stage
def synthesize(params: Params, row: Wildcard, seed: Wildcard, checkpoint: In, archives: Ins, out: Out, **sources: Any) -> None:
    """Audio of an arm, or of the control, from the tokens of the evaluated clips."""
    from agrepa.evaluation import synthesis

    synthesis.run(params, row, seed, checkpoint, archives, out, **sources)


@stage
def wer(params: Params, manifest: In, audio: In, archive: In, out: Out, utterances: Out) -> None:
    """Word and character error rates of a row's speech."""
    from agrepa.evaluation import wer

    wer.run(params, manifest, audio, archive, out, utterances)


@stage
def mos(params: Params, manifest: In, audio: In, archive: In, out: Out, utterances: Out) -> None:
    """Predicted MOS of a row's speech."""
    from agrepa.evaluation import mos

    mos.run(params, manifest, audio, archive, out, utterances)


@stage
def units(
    params: Params,
    manifest: In,
    audio: In,
    tokens: Ins,
    speech: In,
    sounds: In,
    whisper_archives: Ins,
    yamnet_archives: Ins,
    out: Out,
    utterances: Out,
) -> None:
    """Unit error rate of a row."""
    from agrepa.evaluation import units

    units.run(params, manifest, audio, tokens, speech, sounds, whisper_archives, yamnet_archives, out, utterances)


@stage
def embed(params: Params, embedding: Wildcard, manifest: In, audio: In, archives: Ins, out: Out) -> None:
    """FAD embeddings of a row's audio."""
    from agrepa.evaluation import embeddings

    embeddings.run(params, embedding, manifest, audio, archives, out)


@stage
def fad(params: Params, embedding: Wildcard, manifest: In, reference: Ins, evaluated: In, out: Out, utterances: Out) -> None:
    """Frechet audio distance of a row to the training recordings."""
    from agrepa.evaluation import frechet

    frechet.run(params, embedding, manifest, reference, evaluated, out, utterances)


@stage
def scores(params: Params, metrics: Ins, out: Out, values: Out, transcripts: Out) -> None:
    """Gather every metric of every row into one table."""
    from agrepa.evaluation import scores

    scores.run(params, metrics, out, values, transcripts)


@stage
def collect(
    params: Params,
    probes: Ins,
    selections: Ins,
    curves: Ins,
    trend: In,
    curves_out: Out,
    trend_out: Out,
    probes_out: Out,
    selections_out: Out,
    validation_out: Out,
) -> None:
    """Gather probes, selections and training curves beside the scores."""
    from agrepa.evaluation import collect

    collect.run(params, probes, selections, curves, trend, curves_out, trend_out, probes_out, selections_out, validation_out)


@stage
def listening(params: Params, manifest: In, audio: Ins, out: Out) -> None:
    """Keep a few clips of every row to look at and listen to."""
    from agrepa.evaluation import listening

    listening.run(params, manifest, audio, out)


@stage
def cards(params: Params, cards: Ins, out: Out) -> None:
    """Gather the run cards behind the tables, so that they are kept with the results."""
    from agrepa import lineage

    lineage.gather(params, cards, out)


@stage
def tables(params: Params, scores: In, probes: In, selections: In, paper: In, out: Out) -> None:
    """The paper's tables, measured beside published."""
    from agrepa.reporting import tables

    tables.run(params, scores, probes.parent, paper, out)


@stage
def figures(params: Params, scores: In, probes: In, selections: In, curves: In, trend: In, listening: In, out: Out) -> None:
    """The paper's figures, and curves, spectrograms and intervals."""
    from agrepa.reporting import figures

    figures.run(params, scores.parent, out)


@stage
def report(
    params: Params,
    scores: In,
    tables: In,
    figures: In,
    listening: In,
    selections: In,
    cards: In,
    attribution: In,
    template: In,
    out: Out,
) -> None:
    """One self-contained page of everything."""
    from agrepa.reporting import report

    report.run(params, tables.parent, out, template)
