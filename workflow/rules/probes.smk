"""The frozen warm-up model under the probes, and the layers that each arm takes from them.

All are checkpoints, which cannot be made with `use rule`: what follows them is planned again by what they gave (see `settled`).
"""


checkpoint fog_a:
    input:
        **CLIPS,
        warmup=rules.warmup.output.checkpoint,
    output:
        out=f"{WORK}/probes/fog_a.json",
        card=f"{WORK}/probes/fog_a.json.card.json",
    log:
        f"{WORK}/logs/probes/fog_a.log",
    priority: 20
    conda:
        "../../environment.yml"
    params:
        **job("fog_a"),
    shell:
        RUN


checkpoint lasp:
    input:
        **CLIPS,
        targets=TARGETS,
        warmup=rules.warmup.output.checkpoint,
    output:
        out=f"{WORK}/probes/lasp.json",
        card=f"{WORK}/probes/lasp.json.card.json",
    log:
        f"{WORK}/logs/probes/lasp.log",
    conda:
        "../../environment.yml"
    params:
        **job("lasp"),
    shell:
        RUN


checkpoint gradient_norm:
    input:
        **CLIPS,
        warmup=rules.warmup.output.checkpoint,
    output:
        out=f"{WORK}/probes/gradient_norm.json",
        card=f"{WORK}/probes/gradient_norm.json.card.json",
    log:
        f"{WORK}/logs/probes/gradient_norm.log",
    conda:
        "../../environment.yml"
    params:
        **job("gradient_norm"),
    shell:
        RUN


checkpoint fog_a_trend:
    input:
        **CLIPS,
        snapshots=rules.warmup.output.snapshots,
    output:
        out=f"{WORK}/probes/fog_a_trend.parquet",
        card=f"{WORK}/probes/fog_a_trend.parquet.card.json",
    log:
        f"{WORK}/logs/probes/fog_a_trend.log",
    conda:
        "../../environment.yml"
    params:
        **job("fog_a_trend"),
    shell:
        RUN


checkpoint select:
    input:
        probed,
        probe=lambda wildcards: (
            [f"{WORK}/probes/{PROBED[wildcards.arm]}.json"]
            if wildcards.arm in PROBED
            else []
        ),
    output:
        out=f"{WORK}/selections/{{arm}}.json",
        card=f"{WORK}/selections/{{arm}}.json.card.json",
    log:
        f"{WORK}/logs/select/{{arm}}.log",
    # A moment's work, for which an arm's whole training waits.
    priority: 20
    localrule: True
    conda:
        "../../environment.yml"
    params:
        **job("select"),
    shell:
        RUN
