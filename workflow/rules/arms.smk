"""Phase II: every arm from the same warm-up checkpoint, with the same data order and noise."""


def aligned_frames(wildcards):
    """The teachers' frames, for an arm whose target they are."""
    arm = EXPERIMENT.rows[wildcards.arm]
    framewise = arm.strategy != "none" and arm.target == "frames"
    return indexes("features", FLOW.teacher_encoders if framewise else [])


use rule stage as train with:
    input:
        settled,
        **CLIPS,
        targets=TARGETS,
        features=aligned_frames,
        warmup=rules.warmup.output.checkpoint,
        selection=rules.select.output.out,
    output:
        checkpoint=f"{WORK}/arms/{{arm}}/seed{{seed}}/checkpoint.safetensors",
        log=f"{WORK}/arms/{{arm}}/seed{{seed}}/log.parquet",
        validation=f"{WORK}/arms/{{arm}}/seed{{seed}}/validation.parquet",
        card=f"{WORK}/arms/{{arm}}/seed{{seed}}/checkpoint.safetensors.card.json",
    log:
        f"{WORK}/logs/train/{{arm}}.seed{{seed}}.log",
    priority: 10
    threads: EXPERIMENT.threads.arms
    params:
        **job("train"),
