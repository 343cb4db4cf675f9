"""Phase II: of each seed every arm from the same warm-up checkpoint, with the same data order and noise.

An arm from scratch begins where the warm-up does and goes through both phases.
"""


use rule stage as train with:
    input:
        settled,
        **CLIPS,
        targets=TARGETS,
        features=lambda wildcards: FLOW.aligned_frames(wildcards.arm),
        # Where an arm begins: with the warm-up's checkpoint, or with what the warm-up itself begins with.
        warmup=lambda wildcards: (
            []
            if EXPERIMENT.rows[wildcards.arm].from_scratch
            else expand(
                rules.warmup.output.checkpoint,
                kind=EXPERIMENT.backbone_of[wildcards.arm],
                seed=wildcards.seed,
            )
        ),
        codebooks=lambda wildcards: (
            every(rules.codebook.output.out)
            if EXPERIMENT.rows[wildcards.arm].from_scratch
            else []
        ),
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
