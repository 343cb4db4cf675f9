"""Phase I: Base with BiT-C, of each backbone and seed the common start of every arm and the model that is probed."""


use rule stage as warmup with:
    input:
        **CLIPS,
        codebooks=every(rules.codebook.output.out),
        targets=TARGETS,
    output:
        checkpoint=f"{WORK}/warmup/{{kind}}/seed{{seed}}/checkpoint.safetensors",
        log=f"{WORK}/warmup/{{kind}}/seed{{seed}}/log.parquet",
        validation=f"{WORK}/warmup/{{kind}}/seed{{seed}}/validation.parquet",
        snapshots=directory(f"{WORK}/warmup/{{kind}}/seed{{seed}}/snapshots"),
        card=f"{WORK}/warmup/{{kind}}/seed{{seed}}/checkpoint.safetensors.card.json",
    log:
        f"{WORK}/logs/warmup/{{kind}}.seed{{seed}}.log",
    priority: 30
    threads: EXPERIMENT.threads.warmup
    params:
        **job("warmup"),
