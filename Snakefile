"""AG-REPA, from downloads to tables. The rules read top to bottom in workflow/rules, in the order of the paper."""

from snakemake.utils import min_version

from agrepa import params as schema

min_version("9.27")

PARAMS = config.get("params", "params/demo.yaml")
EXPERIMENT = schema.load(PARAMS)
WORK = f"work/{EXPERIMENT.name}"
RESULTS = f"results/{EXPERIMENT.name}"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/corpora.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/warmup.smk"
include: "workflow/rules/probes.smk"
include: "workflow/rules/arms.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/tables.smk"


rule all:
    default_target: True
    input:
        # Models and metrics are asked for by name: a failed arm must fail the run, never leave its old number in a table.
        expand(
            rules.train.output.checkpoint, arm=EXPERIMENT.arms, seed=EXPERIMENT.seeds
        ),
        METRICS,
        rules.tables.output,
        rules.figures.output,
        rules.page.output,
        rules.attribution.output,
