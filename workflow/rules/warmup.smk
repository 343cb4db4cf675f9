"""Phase I: Base with BiT-C, the common start of every arm and the model that is probed."""


use rule stage as warmup with:
    input:
        **CLIPS,
        codebooks=every(rules.codebook.output.out),
        targets=TARGETS,
    output:
        checkpoint=f"{WORK}/warmup/checkpoint.safetensors",
        log=f"{WORK}/warmup/log.parquet",
        validation=f"{WORK}/warmup/validation.parquet",
        snapshots=directory(f"{WORK}/warmup/snapshots"),
        card=f"{WORK}/warmup/checkpoint.safetensors.card.json",
    log:
        f"{WORK}/logs/warmup.log",
    priority: 30
    threads: EXPERIMENT.threads.warmup
    params:
        **job("warmup"),
