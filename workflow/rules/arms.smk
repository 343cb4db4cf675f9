"""Phase II: every arm from the same warm-up checkpoint, with the same data order and noise."""


rule train:
    input:
        settled,
        **SOURCES,
        warmup=rules.warmup.output.checkpoint,
        selection=rules.select.output.out,
    output:
        checkpoint=f"{WORK}/arms/{{arm}}/seed{{seed}}/checkpoint.safetensors",
        log=f"{WORK}/arms/{{arm}}/seed{{seed}}/log.parquet",
        card=f"{WORK}/arms/{{arm}}/seed{{seed}}/checkpoint.safetensors.card.json",
    log:
        f"{WORK}/logs/train/{{arm}}.seed{{seed}}.log",
    benchmark:
        f"{WORK}/benchmarks/train/{{arm}}.seed{{seed}}.tsv"
    priority: 10
    conda:
        "../../environment.yml"
    threads: EXPERIMENT.threads.arms
    params:
        experiment=PARAMS,
        reads=reads("train"),
        source=source("train"),
        state=f"{WORK}/state/{{arm}}.seed{{seed}}",
    shell:
        "agrepa train --params {params.experiment} --arm {wildcards.arm} --seed {wildcards.seed} --warmup {input.warmup}"
        " --selection {input.selection} --state {params.state} --checkpoint {output.checkpoint} --log {output.log}"
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"
