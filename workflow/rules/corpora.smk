"""Downloads, and the corpora as one manifest and clips."""


rule fetch:
    output:
        out="downloads/{archive}.{suffix}",
        card="downloads/{archive}.{suffix}.card.json",
    log:
        "downloads/logs/{archive}.{suffix}.log",
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        network=1,
    params:
        experiment=PARAMS,
        reads=reads("fetch"),
        source=source("fetch"),
    shell:
        "agrepa fetch --params {params.experiment} --archive {wildcards.archive} --out {output.out} --card {output.card} 2>&1 | tee {log}"


rule prepare:
    input:
        archives=[
            download(name)
            for corpus in EXPERIMENT.corpora.sources
            for name in CORPUS_ARCHIVES[corpus]
        ],
        listed=OWN_RECORDINGS,
    output:
        manifest=f"{WORK}/manifest.parquet",
        clips=directory(f"{WORK}/clips"),
        card=f"{WORK}/manifest.parquet.card.json",
    log:
        f"{WORK}/logs/prepare.log",
    benchmark:
        f"{WORK}/benchmarks/prepare.tsv"
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("prepare"),
        source=source("prepare"),
    shell:
        'agrepa prepare --params {params.experiment} --archives "{input.archives}" --manifest {output.manifest} --clips {output.clips}'
        " --card {output.card} 2>&1 | tee {log}"


rule attribution:
    input:
        manifest=rules.prepare.output.manifest,
    output:
        out=f"{RESULTS}/ATTRIBUTION.md",
        card=f"{RESULTS}/ATTRIBUTION.md.card.json",
    log:
        f"{WORK}/logs/attribution.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("attribution"),
        source=source("attribution"),
    shell:
        "agrepa attribution --params {params.experiment} --manifest {input.manifest} --out {output.out} --card {output.card} 2>&1 | tee {log}"
