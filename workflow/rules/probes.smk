"""Each seed's frozen warm-up model under the probes, and the layers that each arm takes from them.

All are checkpoints, which cannot be made with `use rule`: what follows them is planned again by what they gave (see `settled`).
"""


checkpoint fog_a:
    input:
        **CLIPS,
        warmup=rules.warmup.output.checkpoint,
    output:
        out=f"{WORK}/probes/{{kind}}/seed{{seed}}/fog_a.json",
        card=f"{WORK}/probes/{{kind}}/seed{{seed}}/fog_a.json.card.json",
    log:
        f"{WORK}/logs/probes/fog_a.{{kind}}.seed{{seed}}.log",
    priority: 20
    conda:
        "../../environment.yml"
    params:
        **job("fog_a"),
    shell:
        RUN


# The probe as the released code has it runs where an arm follows it, and nowhere else.
if "fog_a_released" in PROBED.values():

    checkpoint fog_a_released:
        input:
            **CLIPS,
            warmup=rules.warmup.output.checkpoint,
        output:
            out=f"{WORK}/probes/{{kind}}/seed{{seed}}/fog_a_released.json",
            card=f"{WORK}/probes/{{kind}}/seed{{seed}}/fog_a_released.json.card.json",
        log:
            f"{WORK}/logs/probes/fog_a_released.{{kind}}.seed{{seed}}.log",
        conda:
            "../../environment.yml"
        params:
            **job("fog_a_released"),
        shell:
            RUN


checkpoint lasp:
    input:
        **CLIPS,
        targets=TARGETS,
        warmup=rules.warmup.output.checkpoint,
    output:
        out=f"{WORK}/probes/{{kind}}/seed{{seed}}/lasp.json",
        card=f"{WORK}/probes/{{kind}}/seed{{seed}}/lasp.json.card.json",
    log:
        f"{WORK}/logs/probes/lasp.{{kind}}.seed{{seed}}.log",
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
        out=f"{WORK}/probes/{{kind}}/seed{{seed}}/gradient_norm.json",
        card=f"{WORK}/probes/{{kind}}/seed{{seed}}/gradient_norm.json.card.json",
    log:
        f"{WORK}/logs/probes/gradient_norm.{{kind}}.seed{{seed}}.log",
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
        out=f"{WORK}/probes/{{kind}}/seed{{seed}}/fog_a_trend.parquet",
        card=f"{WORK}/probes/{{kind}}/seed{{seed}}/fog_a_trend.parquet.card.json",
    log:
        f"{WORK}/logs/probes/fog_a_trend.{{kind}}.seed{{seed}}.log",
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
            [
                f"{WORK}/probes/{EXPERIMENT.backbone_of[wildcards.arm]}/seed{wildcards.seed}/{PROBED[wildcards.arm]}.json"
            ]
            if wildcards.arm in PROBED
            else []
        ),
    output:
        out=f"{WORK}/selections/seed{{seed}}/{{arm}}.json",
        card=f"{WORK}/selections/seed{{seed}}/{{arm}}.json.card.json",
    log:
        f"{WORK}/logs/select/{{arm}}.seed{{seed}}.log",
    # A moment's work, for which an arm's whole training waits.
    priority: 20
    localrule: True
    conda:
        "../../environment.yml"
    params:
        **job("select"),
    shell:
        RUN
