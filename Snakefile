"""AG-REPA, from downloads to tables. The rules read top to bottom in workflow/rules, in the order of the paper."""

from snakemake.utils import min_version

from agrepa import params as schema
from agrepa.evaluation import rows

# Under another name: the Snakefile runs among the names of `snakemake.workflow`, which has a Workflow of its own.
from agrepa.pipeline.workflow import PREFIX, Workflow as Flow

min_version("9.27")

PARAMS = config.get("params", "params/demo.yaml")
EXPERIMENT = schema.load(PARAMS)
FLOW = Flow(EXPERIMENT, PARAMS)
WORK = f"work/{EXPERIMENT.name}"
RESULTS = f"results/{EXPERIMENT.name}"
job, every = FLOW.job, FLOW.every
shell.prefix(PREFIX)
RUN = "{params.command} 2>&1 | tee {log}"


report: "workflow/report/workflow.rst"


wildcard_constraints:
    archive="[a-z0-9_]+",
    suffix="deb|whl|tar|zip",
    shard=r"\d+",
    seed=r"\d+",
    row="[a-z0-9_]+",
    arm="|".join(EXPERIMENT.arms),
    kind="|".join(FLOW.kinds),
    encoder="|".join(EXPERIMENT.encoders),
    embedding="|".join(EXPERIMENT.encoders),
    stream="|".join(FLOW.streams),
    store="|".join(FLOW.stores),


# What every rule has in common: a command of `agrepa`, made from its stage's signature and its own files of the same names.
rule stage:
    output:
        touch("never"),
    log:
        "never.log",
    conda:
        f"{workflow.basedir}/environment.yml"
    params:
        command="",
    shell:
        RUN


include: "workflow/rules/settled.smk"
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
        every(rules.train.output.checkpoint),
        METRICS,
        rules.tables.output,
        rules.figures.output,
        rules.claims.output,
        rules.page.output,
        rules.attribution.output,
