"""Audio of every row, and every metric of it."""


rule anchor:
    input:
        manifest=rules.prepare.output.manifest,
        clips=rules.prepare.output.clips,
        mel=shards(rules.mel.output.out),
        archives=VOCODER_ARCHIVES,
    output:
        out=directory(f"{WORK}/audio/{{row}}/seed{EXPERIMENT.seed}"),
        card=f"{WORK}/audio/{{row}}/seed{EXPERIMENT.seed}.card.json",
    log:
        f"{WORK}/logs/anchor/{{row}}.log",
    benchmark:
        f"{WORK}/benchmarks/anchor/{{row}}.tsv"
    wildcard_constraints:
        row="|".join(ANCHORS),
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("anchor"),
        source=source("anchor"),
    shell:
        "agrepa anchor --params {params.experiment} --row {wildcards.row} --manifest {input.manifest} --clips {input.clips}"
        ' --mel "{input.mel}" --archives "{input.archives}" --out {output.out} --card {output.card} 2>&1 | tee {log}'


rule synthesize:
    input:
        settled,
        **SOURCES,
        checkpoint=model_of,
        archives=VOCODER_ARCHIVES,
    output:
        out=directory(f"{WORK}/audio/{{row}}/seed{{seed}}"),
        card=f"{WORK}/audio/{{row}}/seed{{seed}}.card.json",
    log:
        f"{WORK}/logs/synthesize/{{row}}.seed{{seed}}.log",
    benchmark:
        f"{WORK}/benchmarks/synthesize/{{row}}.seed{{seed}}.tsv"
    wildcard_constraints:
        row="|".join([*EXPERIMENT.arms, "control"]),
    # Before any metric: the metrics of the last arm wait for its audio while the other core has nothing left to do.
    priority: 5
    conda:
        "../../environment.yml"
    threads: EXPERIMENT.threads.evaluation
    params:
        experiment=PARAMS,
        reads=reads("synthesize"),
        source=source("synthesize"),
    shell:
        "agrepa synthesize --params {params.experiment} --row {wildcards.row} --seed {wildcards.seed} --checkpoint {input.checkpoint}"
        ' --archives "{input.archives}" --out {output.out}'
        + FROM_SOURCES
        + " --card {output.card} 2>&1 | tee {log}"


rule wer:
    input:
        settled,
        manifest=rules.prepare.output.manifest,
        audio=f"{WORK}/audio/{{row}}/seed{{seed}}",
        archive=download("whisper_tiny_en"),
    output:
        out=f"{WORK}/metrics/{{row}}/seed{{seed}}/wer.json",
        utterances=f"{WORK}/metrics/{{row}}/seed{{seed}}/wer.parquet",
        card=f"{WORK}/metrics/{{row}}/seed{{seed}}/wer.json.card.json",
    log:
        f"{WORK}/logs/wer/{{row}}.seed{{seed}}.log",
    benchmark:
        f"{WORK}/benchmarks/wer/{{row}}.seed{{seed}}.tsv"
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("wer"),
        source=source("wer"),
    shell:
        "agrepa wer --params {params.experiment} --manifest {input.manifest} --audio {input.audio} --archive {input.archive}"
        " --out {output.out} --utterances {output.utterances} --card {output.card} 2>&1 | tee {log}"


rule mos:
    input:
        settled,
        manifest=rules.prepare.output.manifest,
        audio=f"{WORK}/audio/{{row}}/seed{{seed}}",
        archive=download("distillmos"),
    output:
        out=f"{WORK}/metrics/{{row}}/seed{{seed}}/mos.json",
        utterances=f"{WORK}/metrics/{{row}}/seed{{seed}}/mos.parquet",
        card=f"{WORK}/metrics/{{row}}/seed{{seed}}/mos.json.card.json",
    log:
        f"{WORK}/logs/mos/{{row}}.seed{{seed}}.log",
    benchmark:
        f"{WORK}/benchmarks/mos/{{row}}.seed{{seed}}.tsv"
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("mos"),
        source=source("mos"),
    shell:
        "agrepa mos --params {params.experiment} --manifest {input.manifest} --audio {input.audio} --archive {input.archive}"
        " --out {output.out} --utterances {output.utterances} --card {output.card} 2>&1 | tee {log}"


rule units:
    input:
        settled,
        manifest=rules.prepare.output.manifest,
        audio=f"{WORK}/audio/{{row}}/seed{{seed}}",
        tokens=shards(rules.tokenize.output.out),
        speech=f"{WORK}/codebooks/speech.safetensors",
        sounds=f"{WORK}/codebooks/audio.safetensors",
        whisper_archives=encoder_archives("whisper"),
        yamnet_archives=encoder_archives("yamnet"),
    output:
        out=f"{WORK}/metrics/{{row}}/seed{{seed}}/units.json",
        utterances=f"{WORK}/metrics/{{row}}/seed{{seed}}/units.parquet",
        card=f"{WORK}/metrics/{{row}}/seed{{seed}}/units.json.card.json",
    log:
        f"{WORK}/logs/units/{{row}}.seed{{seed}}.log",
    benchmark:
        f"{WORK}/benchmarks/units/{{row}}.seed{{seed}}.tsv"
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("units"),
        source=source("units"),
    shell:
        'agrepa units --params {params.experiment} --manifest {input.manifest} --audio {input.audio} --tokens "{input.tokens}"'
        ' --speech {input.speech} --sounds {input.sounds} --whisper-archives "{input.whisper_archives}"'
        ' --yamnet-archives "{input.yamnet_archives}" --out {output.out} --utterances {output.utterances} --card {output.card} 2>&1 | tee {log}'


rule embed:
    input:
        settled,
        manifest=rules.prepare.output.manifest,
        audio=f"{WORK}/audio/{{row}}/seed{{seed}}",
        archives=lambda wildcards: encoder_archives(wildcards.embedding),
    output:
        out=f"{WORK}/embeddings/{{row}}/seed{{seed}}/{{embedding}}.safetensors",
        index=f"{WORK}/embeddings/{{row}}/seed{{seed}}/{{embedding}}.parquet",
        card=f"{WORK}/embeddings/{{row}}/seed{{seed}}/{{embedding}}.safetensors.card.json",
    log:
        f"{WORK}/logs/embed/{{row}}.seed{{seed}}.{{embedding}}.log",
    benchmark:
        f"{WORK}/benchmarks/embed/{{row}}.seed{{seed}}.{{embedding}}.tsv"
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("embed"),
        source=source("embed"),
    shell:
        "agrepa embed --params {params.experiment} --embedding {wildcards.embedding} --manifest {input.manifest} --audio {input.audio}"
        ' --archives "{input.archives}" --out {output.out} --card {output.card} 2>&1 | tee {log}'


rule fad:
    input:
        settled,
        manifest=rules.prepare.output.manifest,
        reference=lambda wildcards: features(wildcards.embedding),
        evaluated=rules.embed.output.out,
    output:
        out=f"{WORK}/metrics/{{row}}/seed{{seed}}/fad_{{embedding}}.json",
        utterances=f"{WORK}/metrics/{{row}}/seed{{seed}}/fad_{{embedding}}.parquet",
        card=f"{WORK}/metrics/{{row}}/seed{{seed}}/fad_{{embedding}}.json.card.json",
    log:
        f"{WORK}/logs/fad/{{row}}.seed{{seed}}.{{embedding}}.log",
    benchmark:
        f"{WORK}/benchmarks/fad/{{row}}.seed{{seed}}.{{embedding}}.tsv"
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("fad"),
        source=source("fad"),
    shell:
        "agrepa fad --params {params.experiment} --embedding {wildcards.embedding} --manifest {input.manifest}"
        ' --reference "{input.reference}" --evaluated {input.evaluated} --out {output.out} --utterances {output.utterances}'
        " --card {output.card} 2>&1 | tee {log}"


METRICS = [
    f"{WORK}/metrics/{row}/seed{seed}/{metric}.json"
    for row, seed in EVALUATED
    for metric in [
        "wer",
        "mos",
        "units",
        *(f"fad_{name}" for name in EXPERIMENT.evaluation.frechet.embeddings),
    ]
]


rule scores:
    input:
        settled,
        metrics=METRICS,
    output:
        out=f"{RESULTS}/scores/scores.csv",
        values=f"{RESULTS}/scores/metrics.json",
        transcripts=f"{RESULTS}/scores/transcripts.csv",
        card=f"{WORK}/cards/scores.json",
    log:
        f"{WORK}/logs/scores.log",
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("scores"),
        source=source("scores"),
    shell:
        'agrepa scores --params {params.experiment} --metrics "{input.metrics}" --out {output.out} --values {output.values}'
        " --transcripts {output.transcripts}"
        " --card {output.card} 2>&1 | tee {log}"


rule listening:
    input:
        settled,
        manifest=rules.prepare.output.manifest,
        audio=[
            f"{WORK}/audio/{row}/seed{seed}"
            for row, seed in EVALUATED
            if seed in (EXPERIMENT.seed, EXPERIMENT.seeds[0])
        ],
    output:
        out=directory(f"{RESULTS}/scores/listening"),
        card=f"{WORK}/cards/listening.json",
    log:
        f"{WORK}/logs/listening.log",
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("listening"),
        source=source("listening"),
    shell:
        'agrepa listening --params {params.experiment} --manifest {input.manifest} --audio "{input.audio}" --out {output.out} --card {output.card} 2>&1 | tee {log}'
