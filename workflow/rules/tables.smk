"""What people read: tables, figures, claims and the report, from results/<experiment>/ alone."""


use rule stage as collect with:
    input:
        all_settled,
        probes=expand(
            f"{WORK}/probes/{{kind}}/seed{{seed}}/{{probe}}.json",
            kind=EXPERIMENT.model.kind,
            seed=EXPERIMENT.seeds,
            probe=SHOWN_PROBES,
        ),
        selections=every(rules.select.output.out),
        logs=[*FLOW.own(rules.warmup.output.log), *every(rules.train.output.log)],
        trend=FLOW.own(rules.fog_a_trend.output.out),
    output:
        curves=f"{RESULTS}/scores/curves.csv",
        trend_csv=f"{RESULTS}/scores/fog_a_trend.csv",
        validation=f"{RESULTS}/scores/validation.csv",
        probes_folder=directory(f"{RESULTS}/scores/probes"),
        selections_folder=directory(f"{RESULTS}/scores/selections"),
        card=f"{WORK}/cards/collect.json",
    log:
        f"{WORK}/logs/collect.log",
    localrule: True
    params:
        **job("collect"),


# Where a rule has a long list of files it names the others as text: beside a reference to a rule's output, Snakemake looks
# each file of the list up by the hash of the whole list.
use rule stage as cards with:
    input:
        all_settled,
        # Of every rule above, in the order of the DAG.
        cards=[
            card
            for each in workflow.rules
            if each.name != "attribution" and "card" in each.output.keys()
            for card in every(each.output.card)
        ],
        manifest=f"{WORK}/manifest.parquet",
    output:
        out=directory(f"{RESULTS}/cards"),
        card=f"{WORK}/cards/cards.json",
    log:
        f"{WORK}/logs/cards.log",
    localrule: True
    params:
        **job("cards"),


use rule stage as tables with:
    input:
        all_settled,
        scores=rules.scores.output.out,
        pairs=rules.scores.output.pairs,
        probes=rules.collect.output.probes_folder,
        trend=rules.collect.output.trend_csv,
        curves=rules.collect.output.curves,
        selections=rules.collect.output.selections_folder,
        cards=rules.cards.output.out,
        paper="results/paper",
    output:
        out=report(
            directory(f"{RESULTS}/tables"),
            patterns=["{name}.csv"],
            caption="../report/tables.rst",
            category="Tables",
        ),
        card=f"{RESULTS}/tables.card.json",
    log:
        f"{WORK}/logs/tables.log",
    params:
        **job("tables"),


use rule stage as figures with:
    input:
        all_settled,
        scores=rules.scores.output.out,
        probes=rules.collect.output.probes_folder,
        selections=rules.collect.output.selections_folder,
        curves=rules.collect.output.curves,
        trend=rules.collect.output.trend_csv,
        listening=rules.listening.output.out,
    output:
        out=report(
            directory(f"{RESULTS}/figures"),
            patterns=["{name}.png"],
            caption="../report/figures.rst",
            category="Figures",
        ),
        card=f"{RESULTS}/figures.card.json",
    log:
        f"{WORK}/logs/figures.log",
    params:
        **job("figures"),


use rule stage as claims with:
    input:
        all_settled,
        scores=rules.scores.output.out,
        pairs=rules.scores.output.pairs,
        probes=rules.collect.output.probes_folder,
        trend=rules.collect.output.trend_csv,
        curves=rules.collect.output.curves,
    output:
        out=f"{RESULTS}/claims.md",
        table=f"{RESULTS}/claims.csv",
        card=f"{RESULTS}/claims.md.card.json",
    log:
        f"{WORK}/logs/claims.log",
    params:
        **job("claims"),


use rule stage as page with:
    input:
        all_settled,
        scores=rules.scores.output.out,
        tables=rules.tables.output.out,
        figures=rules.figures.output.out,
        claims=rules.claims.output.table,
        listening=rules.listening.output.out,
        selections=rules.collect.output.selections_folder,
        cards=rules.cards.output.out,
        attribution=rules.attribution.output.out,
        template="workflow/report/report.html.j2",
    output:
        out=f"{RESULTS}/report.html",
        card=f"{RESULTS}/report.html.card.json",
    log:
        f"{WORK}/logs/report.log",
    params:
        **job("report"),
