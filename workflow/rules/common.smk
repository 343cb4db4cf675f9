"""What every rule needs: the parameters and the source that its job depends on, and the names of shards and rows."""

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

# (row, seed) of everything that is evaluated; the anchors do not depend on a training seed.
ANCHORS = ["ground_truth", "copy_synthesis"]
EVALUATED = [(row, EXPERIMENT.seed) for row in ANCHORS] + [
    (row, seed) for row in [*EXPERIMENT.arms, "control"] for seed in EXPERIMENT.seeds
]


def shards(pattern):
    """All shards of a feature file."""
    return expand(pattern, shard=SHARDS)


wildcard_constraints:
    archive="[a-z0-9_]+",
    shard=r"\d+",
    seed=r"\d+",
    arm="|".join(EXPERIMENT.arms),
    encoder="|".join(ENCODER_ARCHIVES),
    embedding="yamnet|aisfx",
    stream="speech|audio|second",
