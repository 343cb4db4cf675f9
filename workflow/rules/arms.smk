"""Phase II: of each seed every arm from the same warm-up checkpoint, with the same data order and noise."""


use rule stage as train with:
    input:
        settled,
        **CLIPS,
        targets=TARGETS,
        features=lambda wildcards: FLOW.aligned_frames(wildcards.arm),
        warmup=lambda wildcards: expand(
            rules.warmup.output.checkpoint,
            kind=EXPERIMENT.backbone_of[wildcards.arm],
            seed=wildcards.seed,
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
