"""What the rules share: the parameters and the code behind a job, and the names of shards and rows."""

import json

from agrepa import stages
from agrepa.encoders.catalogue import ARCHIVES as ENCODER_ARCHIVES


def reads(stage):
    """The parameters of a job as text, so that Snakemake re-runs it when one of them changes."""
    return lambda wildcards: json.dumps(
        stages.values(stage, EXPERIMENT, dict(wildcards)), sort_keys=True
    )


def source(stage):
    """The hash of the code that a job executes: Snakemake does not look into imported packages by itself."""
    return lambda wildcards: stages.source_hash(stage, dict(wildcards))


def download(archive):
    """Where the pinned archive lies once it is fetched."""
    suffix = {"deb": "deb", "wheel": "whl"}[EXPERIMENT.archives[archive].kind]
    return f"downloads/{archive}.{suffix}"


def encoder_archives(encoder):
    return [download(name) for name in ENCODER_ARCHIVES[encoder]]


# dvc.yaml is rendered from the whole graph, before any checkpoint has run.
PLAN_WITHOUT_RUNNING = bool(config.get("plan_without_running"))

SHARDS = [str(shard) for shard in range(EXPERIMENT.shards)]
CORPUS_ARCHIVES = {
    "queen": ["queen"],
    "game_sounds": ["ufoai", "opensfx", "scratch", "sonic_pi"],
    "folder": [],
}
VOCODER_ARCHIVES = (
    [download("hifigan")] if EXPERIMENT.evaluation.vocoder == "hifigan" else []
)

OWN_RECORDINGS = []
if "folder" in EXPERIMENT.corpora.sources:
    from agrepa.corpora import folder

    OWN_RECORDINGS = folder.listed(EXPERIMENT.corpora.folder_csv)

# (row, seed) of everything that is evaluated; the anchors do not depend on a training seed.
ANCHORS = ["ground_truth", "copy_synthesis"]
EVALUATED = [(row, EXPERIMENT.seed) for row in ANCHORS] + [
    (row, seed) for row in [*EXPERIMENT.arms, "control"] for seed in EXPERIMENT.seeds
]


def shards(pattern):
    """All shards of a feature file."""
    return expand(pattern, shard=SHARDS)


def features(encoder):
    return expand(rules.encode.output.out, encoder=encoder, shard=SHARDS)


def probe_of(wildcards):
    strategy = EXPERIMENT.rows[wildcards.arm].strategy
    return [PROBES[strategy]] if strategy in PROBES else []


def arms_behind(wildcards):
    """The arms whose layers a job's result depends on: its own, or all of them for a job that has none of its own."""
    row = wildcards.get("arm") or wildcards.get("row")
    if row is None:
        return EXPERIMENT.arms
    if row in ANCHORS:
        return []
    return [EXPERIMENT.control if row == "control" else row]


def probed(wildcards):
    """No file: the job is planned again once the probe behind its arms has run. See `settled`."""
    if not PLAN_WITHOUT_RUNNING:
        for arm in arms_behind(wildcards):
            strategy = EXPERIMENT.rows[arm].strategy
            if strategy in PROBES:
                getattr(checkpoints, strategy).get()
    return []


def settled(wildcards):
    """No file: the job is planned again once the probe and then the selection behind its arms are there.

    A job that Snakemake plans behind one that runs stays planned, whatever comes out. Only what asks a checkpoint is looked
    at again, and then compared by content: a probe that gives the same scores, or a selection that takes the same layers,
    trains and scores nothing again, as in DVC.
    """
    probed(wildcards)
    if not PLAN_WITHOUT_RUNNING:
        for arm in arms_behind(wildcards):
            checkpoints.select.get(arm=arm)
    return []


def all_settled(wildcards):
    """`settled` for jobs that also show probes which no arm follows."""
    if not PLAN_WITHOUT_RUNNING:
        for name in [*PROBES, "fog_a_trend"]:
            getattr(checkpoints, name).get()
    return settled(wildcards)


def model_of(wildcards):
    """The control row is the control arm's model given foreign tokens."""
    arm = EXPERIMENT.control if wildcards.row == "control" else wildcards.row
    return expand(rules.train.output.checkpoint, arm=arm, seed=wildcards.seed)


wildcard_constraints:
    archive="[a-z0-9_]+",
    shard=r"\d+",
    seed=r"\d+",
    arm="|".join(EXPERIMENT.arms),
    encoder="|".join(ENCODER_ARCHIVES),
    embedding="|".join(ENCODER_ARCHIVES),
    stream="speech|audio|second",
