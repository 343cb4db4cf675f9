"""What waits for a checkpoint: jobs that Snakemake plans again by what the probes and selections behind them gave."""

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


def seeds_behind(wildcards):
    """The replications that a job's result depends on: its own, or all of them."""
    seed = wildcards.get("seed")
    return EXPERIMENT.seeds if seed is None else [seed]


def probed(wildcards):
    """No file: the job is planned again once the probe behind its arms has run. See `settled`."""
    if not PLAN_WITHOUT_RUNNING:
        for arm in arms_behind(wildcards):
            for seed in seeds_behind(wildcards) if arm in PROBED else []:
                getattr(checkpoints, PROBED[arm]).get(
                    kind=EXPERIMENT.backbone_of[arm], seed=seed
                )
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
            for seed in seeds_behind(wildcards):
                checkpoints.select.get(arm=arm, seed=seed)
    return []


def all_settled(wildcards):
    """`settled` for jobs that also show probes which no arm follows."""
    if not PLAN_WITHOUT_RUNNING:
        for name in (*SHOWN_PROBES, "fog_a_trend"):
            for seed in seeds_behind(wildcards):
                getattr(checkpoints, name).get(kind=EXPERIMENT.model.kind, seed=seed)
    return settled(wildcards)
