"""The frozen warm-up model under the three probes, and the layers that each arm takes from them.

All are checkpoints: what follows them is planned again by what they gave (see `settled`).
"""


checkpoint fog_a:
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
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("fog_a"),
        source=source("fog_a"),
    shell:
        "agrepa fog-a --params {params.experiment} --warmup {input.warmup} --out {output.out}"
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"


checkpoint lasp:
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
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("lasp"),
        source=source("lasp"),
    shell:
        "agrepa lasp --params {params.experiment} --warmup {input.warmup} --out {output.out}"
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"


checkpoint gradient_norm:
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
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("gradient_norm"),
        source=source("gradient_norm"),
    shell:
        "agrepa gradient-norm --params {params.experiment} --warmup {input.warmup} --out {output.out}"
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"


checkpoint fog_a_trend:
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
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("fog_a_trend"),
        source=source("fog_a_trend"),
    shell:
        "agrepa fog-a-trend --params {params.experiment} --snapshots {input.snapshots} --out {output.out}"
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"


PROBES = {
    strategy: f"{WORK}/probes/{strategy}.json"
    for strategy in ("fog_a", "lasp", "gradient_norm")
}


checkpoint select:
    input:
        probed,
        probe=probe_of,
    output:
        out=f"{WORK}/selections/{{arm}}.json",
        card=f"{WORK}/selections/{{arm}}.json.card.json",
    log:
        f"{WORK}/logs/select/{{arm}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("select"),
        source=source("select"),
    shell:
        'agrepa select --params {params.experiment} --arm {wildcards.arm} --probe "{input.probe}" --out {output.out} --card {output.card} 2>&1 | tee {log}'
