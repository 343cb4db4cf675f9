"""Phase I: Base with BiT-C, the common start of every arm and the model that is probed."""


rule warmup:
    input:
        **SOURCES,
    output:
        checkpoint=f"{WORK}/warmup/checkpoint.safetensors",
        log=f"{WORK}/warmup/log.parquet",
        snapshots=directory(f"{WORK}/warmup/snapshots"),
        card=f"{WORK}/warmup/checkpoint.safetensors.card.json",
    log:
        f"{WORK}/logs/warmup.log",
    benchmark:
        f"{WORK}/benchmarks/warmup.tsv"
    priority: 30
    conda:
        "../../environment.yml"
    threads: EXPERIMENT.threads.warmup
    params:
        experiment=PARAMS,
        reads=reads("warmup"),
        source=source("warmup"),
        # Outside the outputs, which Snakemake deletes before it starts a job: this is what a killed run resumes from.
        state=f"{WORK}/state/warmup",
    shell:
        "agrepa warmup --params {params.experiment} --state {params.state} --checkpoint {output.checkpoint} --log {output.log}"
        " --snapshots {output.snapshots}"
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"
