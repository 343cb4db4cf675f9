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


# What an arm's strategy may follow, by its name; these three are shown whether or not an arm follows them.
SHOWN_PROBES = ("fog_a", "lasp", "gradient_norm")
PROBED = {
    arm: EXPERIMENT.rows[arm].strategy
    for arm in EXPERIMENT.arms
    if EXPERIMENT.rows[arm].k is not None and EXPERIMENT.rows[arm].strategy != "random"
}
# dvc.yaml is rendered from the whole graph, before any checkpoint has run.
PLAN_WITHOUT_RUNNING = bool(config.get("plan_without_running"))


def arms_behind(wildcards):
    """The arms whose layers a job's result depends on: its own, or all of them for a job that has none of its own."""
    row = wildcards.get("arm") or wildcards.get("row")
    if row is None:
        return EXPERIMENT.arms
    return [] if row in rows.ANCHORS else [rows.model_of(row, EXPERIMENT.control)]


def probed(wildcards):
    """No file: the job is planned again once the probe behind its arms has run. See `settled`."""
    if not PLAN_WITHOUT_RUNNING:
        for arm in arms_behind(wildcards):
            if arm in PROBED:
                getattr(checkpoints, PROBED[arm]).get()
    return []


def settled(wildcards):
    """No file: the job is planned again once the probe and then the selection behind its arms are there.

    A job that Snakemake plans behind one that runs stays planned, whatever comes out. Only what asks a checkpoint is looked
    at again, and then compared by content: a probe that gives the same scores, or a selection that takes the same layers,
    trains and scores nothing again, as in DVC.
    """
    probed(wildcards)
    if not PLAN_WITHOUT_RUNNING:
        for arm in arms_behind(wildcards):
            checkpoints.select.get(arm=arm)
    return []


def all_settled(wildcards):
    """`settled` for jobs that also show probes which no arm follows."""
    if not PLAN_WITHOUT_RUNNING:
        for name in (*SHOWN_PROBES, "fog_a_trend"):
            getattr(checkpoints, name).get()
    return settled(wildcards)


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
    localrule: True
    conda:
        "../../environment.yml"
    params:
        **job("select"),
    shell:
        RUN
