"""The frozen warm-up model under the three probes, and the layers that each arm takes from them."""


rule fog_a:
    input:
        **SOURCES,
        warmup=rules.warmup.output.checkpoint,
    output:
        out=f"{WORK}/probes/fog_a.json",
        card=f"{WORK}/probes/fog_a.json.card.json",
    log:
        f"{WORK}/logs/probes/fog_a.log",
    benchmark:
        f"{WORK}/benchmarks/probes/fog_a.tsv"
    priority: 20
    params:
        reads=reads("fog_a"),
        source=source("fog_a"),
    shell:
        "agrepa fog-a --params {PARAMS} --warmup {input.warmup} --out {output.out}"
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"


rule lasp:
    input:
        **SOURCES,
        warmup=rules.warmup.output.checkpoint,
    output:
        out=f"{WORK}/probes/lasp.json",
        card=f"{WORK}/probes/lasp.json.card.json",
    log:
        f"{WORK}/logs/probes/lasp.log",
    benchmark:
        f"{WORK}/benchmarks/probes/lasp.tsv"
    params:
        reads=reads("lasp"),
        source=source("lasp"),
    shell:
        "agrepa lasp --params {PARAMS} --warmup {input.warmup} --out {output.out}"
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"


rule gradient_norm:
    input:
        **SOURCES,
        warmup=rules.warmup.output.checkpoint,
    output:
        out=f"{WORK}/probes/gradient_norm.json",
        card=f"{WORK}/probes/gradient_norm.json.card.json",
    log:
        f"{WORK}/logs/probes/gradient_norm.log",
    benchmark:
        f"{WORK}/benchmarks/probes/gradient_norm.tsv"
    params:
        reads=reads("gradient_norm"),
        source=source("gradient_norm"),
    shell:
        "agrepa gradient-norm --params {PARAMS} --warmup {input.warmup} --out {output.out}"
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"


rule fog_a_trend:
    input:
        **SOURCES,
        snapshots=rules.warmup.output.snapshots,
    output:
        out=f"{WORK}/probes/fog_a_trend.parquet",
        card=f"{WORK}/probes/fog_a_trend.parquet.card.json",
    log:
        f"{WORK}/logs/probes/fog_a_trend.log",
    benchmark:
        f"{WORK}/benchmarks/probes/fog_a_trend.tsv"
    params:
        reads=reads("fog_a_trend"),
        source=source("fog_a_trend"),
    shell:
        "agrepa fog-a-trend --params {PARAMS} --snapshots {input.snapshots} --out {output.out}"
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"


PROBES = {
    strategy: f"{WORK}/probes/{strategy}.json"
    for strategy in ("fog_a", "lasp", "gradient_norm")
}


def probe_of(wildcards):
    strategy = EXPERIMENT.rows[wildcards.arm].strategy
    return [PROBES[strategy]] if strategy in PROBES else []


# A checkpoint, so that arms are re-trained only if the selection's content changed: the graph is looked at again after it.
checkpoint select:
    input:
        probe=probe_of,
    output:
        out=f"{WORK}/selections/{{arm}}.json",
        card=f"{WORK}/selections/{{arm}}.json.card.json",
    log:
        f"{WORK}/logs/select/{{arm}}.log",
    params:
        reads=reads("select"),
        source=source("select"),
    shell:
        'agrepa select --params {PARAMS} --arm {wildcards.arm} --probe "{input.probe}" --out {output.out} --card {output.card} 2>&1 | tee {log}'
