"""What people read: tables, figures and the report, from results/<experiment>/scores alone."""


rule collect:
    input:
        all_settled,
        probes=list(PROBES.values()),
        selections=expand(rules.select.output.out, arm=EXPERIMENT.arms),
        curves=[rules.warmup.output.log]
        + expand(rules.train.output.log, arm=EXPERIMENT.arms, seed=EXPERIMENT.seeds),
        trend=rules.fog_a_trend.output.out,
    output:
        curves=f"{RESULTS}/scores/curves.csv",
        trend=f"{RESULTS}/scores/fog_a_trend.csv",
        validation=f"{RESULTS}/scores/validation.csv",
        probes=directory(f"{RESULTS}/scores/probes"),
        selections=directory(f"{RESULTS}/scores/selections"),
        card=f"{WORK}/cards/collect.json",
    log:
        f"{WORK}/logs/collect.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("collect"),
        source=source("collect"),
    shell:
        'agrepa collect --params {params.experiment} --probes "{input.probes}" --selections "{input.selections}" --curves "{input.curves}"'
        " --trend {input.trend} --curves-out {output.curves} --trend-out {output.trend} --probes-out {output.probes}"
        " --selections-out {output.selections} --validation-out {output.validation} --card {output.card} 2>&1 | tee {log}"


# The run card of every artifact behind the tables, in the order of the DAG.
CARDS = [
    *expand(
        "{path}.card.json",
        path=[
            *rules.prepare.input.archives,
            *(download(a) for names in ENCODER_ARCHIVES.values() for a in names),
        ]
        + [download("whisper_tiny_en"), download("distillmos"), *VOCODER_ARCHIVES],
    ),
    rules.prepare.output.card,
    *shards(rules.mel.output.card),
    rules.mel_statistics.output.card,
    *expand(rules.encode.output.card, encoder=ENCODER_ARCHIVES, shard=SHARDS),
    *expand(rules.codebook.output.card, stream=["speech", "audio", "second"]),
    *shards(rules.tokenize.output.card),
    rules.warmup.output.card,
    *(f"{probe}.card.json" for probe in PROBES.values()),
    rules.fog_a_trend.output.card,
    *expand(rules.select.output.card, arm=EXPERIMENT.arms),
    *expand(rules.train.output.card, arm=EXPERIMENT.arms, seed=EXPERIMENT.seeds),
    *(f"{WORK}/audio/{row}/seed{seed}.card.json" for row, seed in EVALUATED),
    *(
        f"{WORK}/embeddings/{row}/seed{seed}/{name}.safetensors.card.json"
        for row, seed in EVALUATED
        for name in EXPERIMENT.evaluation.frechet.embeddings
    ),
    *(f"{metric}.card.json" for metric in METRICS),
    rules.scores.output.card,
    rules.collect.output.card,
    rules.listening.output.card,
]


rule cards:
    input:
        all_settled,
        cards=CARDS,
    output:
        out=directory(f"{RESULTS}/cards"),
        card=f"{WORK}/cards/cards.json",
    log:
        f"{WORK}/logs/cards.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("cards"),
        source=source("cards"),
    shell:
        'agrepa cards --params {params.experiment} --cards "{input.cards}" --out {output.out} --card {output.card} 2>&1 | tee {log}'


rule tables:
    input:
        all_settled,
        scores=rules.scores.output.out,
        probes=rules.collect.output.probes,
        selections=rules.collect.output.selections,
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
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("tables"),
        source=source("tables"),
    shell:
        "agrepa tables --params {params.experiment} --scores {input.scores} --probes {input.probes} --selections {input.selections}"
        " --paper {input.paper} --out {output.out} --card {output.card} 2>&1 | tee {log}"


rule figures:
    input:
        all_settled,
        scores=rules.scores.output.out,
        probes=rules.collect.output.probes,
        selections=rules.collect.output.selections,
        curves=rules.collect.output.curves,
        trend=rules.collect.output.trend,
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
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("figures"),
        source=source("figures"),
    shell:
        "agrepa figures --params {params.experiment} --scores {input.scores} --probes {input.probes} --selections {input.selections}"
        " --curves {input.curves} --trend {input.trend} --listening {input.listening} --out {output.out} --card {output.card}"
        " 2>&1 | tee {log}"


rule page:
    input:
        all_settled,
        scores=rules.scores.output.out,
        tables=rules.tables.output.out,
        figures=rules.figures.output.out,
        listening=rules.listening.output.out,
        selections=rules.collect.output.selections,
        cards=rules.cards.output.out,
        attribution=rules.attribution.output.out,
        template="workflow/report/report.html.j2",
    output:
        out=f"{RESULTS}/report.html",
        card=f"{RESULTS}/report.html.card.json",
    log:
        f"{WORK}/logs/report.log",
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("report"),
        source=source("report"),
    shell:
        "agrepa report --params {params.experiment} --scores {input.scores} --tables {input.tables} --figures {input.figures}"
        " --listening {input.listening} --selections {input.selections} --cards {input.cards}"
        " --attribution {input.attribution} --template {input.template} --out {output.out} --card {output.card} 2>&1 | tee {log}"
