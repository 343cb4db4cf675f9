"""What the model reads of a clip: log-mel, teacher features, and tokens."""


rule mel:
    input:
        manifest=rules.prepare.output.manifest,
        clips=rules.prepare.output.clips,
    output:
        out=f"{WORK}/mel/{{shard}}.safetensors",
        index=f"{WORK}/mel/{{shard}}.parquet",
        card=f"{WORK}/mel/{{shard}}.safetensors.card.json",
    log:
        f"{WORK}/logs/mel/{{shard}}.log",
    benchmark:
        f"{WORK}/benchmarks/mel/{{shard}}.tsv"
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("mel"),
        source=source("mel"),
    shell:
        "agrepa mel --params {params.experiment} --shard {wildcards.shard} --manifest {input.manifest} --clips {input.clips}"
        " --out {output.out} --card {output.card} 2>&1 | tee {log}"


rule mel_statistics:
    input:
        manifest=rules.prepare.output.manifest,
        mel=shards(rules.mel.output.out),
    output:
        out=f"{WORK}/mel/statistics.json",
        card=f"{WORK}/mel/statistics.json.card.json",
    log:
        f"{WORK}/logs/mel_statistics.log",
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("mel_statistics"),
        source=source("mel_statistics"),
    shell:
        'agrepa mel-statistics --params {params.experiment} --manifest {input.manifest} --mel "{input.mel}" --out {output.out} --card {output.card} 2>&1 | tee {log}'


rule encode:
    input:
        manifest=rules.prepare.output.manifest,
        clips=rules.prepare.output.clips,
        archives=lambda wildcards: encoder_archives(wildcards.encoder),
    output:
        out=f"{WORK}/features/{{encoder}}/{{shard}}.safetensors",
        index=f"{WORK}/features/{{encoder}}/{{shard}}.parquet",
        card=f"{WORK}/features/{{encoder}}/{{shard}}.safetensors.card.json",
    log:
        f"{WORK}/logs/encode/{{encoder}}/{{shard}}.log",
    benchmark:
        f"{WORK}/benchmarks/encode/{{encoder}}/{{shard}}.tsv"
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("encode"),
        source=source("encode"),
    shell:
        "agrepa encode --params {params.experiment} --encoder {wildcards.encoder} --shard {wildcards.shard} --manifest {input.manifest}"
        ' --clips {input.clips} --archives "{input.archives}" --out {output.out} --card {output.card} 2>&1 | tee {log}'


rule codebook:
    input:
        manifest=rules.prepare.output.manifest,
        features=lambda wildcards: features(
            getattr(EXPERIMENT.tokens, wildcards.stream).encoder
        ),
    output:
        out=f"{WORK}/codebooks/{{stream}}.safetensors",
        card=f"{WORK}/codebooks/{{stream}}.safetensors.card.json",
    log:
        f"{WORK}/logs/codebook/{{stream}}.log",
    benchmark:
        f"{WORK}/benchmarks/codebook/{{stream}}.tsv"
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("codebook"),
        source=source("codebook"),
    shell:
        "agrepa codebook --params {params.experiment} --stream {wildcards.stream} --manifest {input.manifest}"
        ' --features "{input.features}" --out {output.out} --card {output.card} 2>&1 | tee {log}'


rule tokenize:
    input:
        **{
            stream: f"{WORK}/codebooks/{stream}.safetensors"
            for stream in ("speech", "audio", "second")
        },
        manifest=rules.prepare.output.manifest,
        whisper=f"{WORK}/features/whisper/{{shard}}.safetensors",
        yamnet=f"{WORK}/features/yamnet/{{shard}}.safetensors",
    output:
        out=f"{WORK}/tokens/{{shard}}.safetensors",
        index=f"{WORK}/tokens/{{shard}}.parquet",
        card=f"{WORK}/tokens/{{shard}}.safetensors.card.json",
    log:
        f"{WORK}/logs/tokenize/{{shard}}.log",
    conda:
        "../../environment.yml"
    params:
        experiment=PARAMS,
        reads=reads("tokenize"),
        source=source("tokenize"),
    shell:
        "agrepa tokenize --params {params.experiment} --shard {wildcards.shard} --manifest {input.manifest} --whisper {input.whisper}"
        " --yamnet {input.yamnet} --speech {input.speech} --audio {input.audio} --second {input.second} --out {output.out}"
        " --card {output.card} 2>&1 | tee {log}"


# Every stage that runs the model reads these.
SOURCES = {
    "manifest": rules.prepare.output.manifest,
    "statistics": rules.mel_statistics.output.out,
    "mel": shards(rules.mel.output.out),
    "tokens": shards(rules.tokenize.output.out),
    "whisper": features("whisper"),
    "yamnet": features("yamnet"),
}
FROM_SOURCES = (
    " --manifest {input.manifest} --statistics {input.statistics}"
    ' --mel "{input.mel}" --tokens "{input.tokens}" --whisper "{input.whisper}" --yamnet "{input.yamnet}"'
)
