"""What the model reads of a clip: log-mel, features and target vectors of the frozen networks, and tokens.

All are written in shards behind one index a store: what follows reads the index, which holds the hash of every shard.
The warm-up, the longest job, waits for all but the features that only a Frechet distance reads: they come before any evaluation.
"""


use rule stage as mel with:
    input:
        manifest=rules.manifest.output.out,
    output:
        out=f"{WORK}/mel/{{shard}}.safetensors",
        card=f"{WORK}/mel/{{shard}}.safetensors.card.json",
    log:
        f"{WORK}/logs/mel/{{shard}}.log",
    priority: 30
    params:
        **job("mel"),


use rule stage as encode with:
    input:
        manifest=rules.manifest.output.out,
        archives=lambda wildcards: FLOW.encoder_archives(wildcards.encoder),
    output:
        frames=f"{WORK}/features/{{encoder}}/{{shard}}.safetensors",
        means=f"{WORK}/targets/{{encoder}}/{{shard}}.safetensors",
        card=f"{WORK}/features/{{encoder}}/{{shard}}.safetensors.card.json",
    log:
        f"{WORK}/logs/encode/{{encoder}}/{{shard}}.log",
    priority: FLOW.urgency
    params:
        **job("encode"),


use rule stage as index with:
    input:
        shards=expand(f"{WORK}/{{{{store}}}}/{{shard}}.safetensors", shard=FLOW.shards),
    output:
        out=f"{WORK}/{{store}}/index.parquet",
        card=f"{WORK}/{{store}}/index.parquet.card.json",
    log:
        f"{WORK}/logs/index/{{store}}.log",
    priority: 30
    params:
        **job("index"),


use rule stage as mel_statistics with:
    input:
        manifest=rules.manifest.output.out,
        mel=f"{WORK}/mel/index.parquet",
    output:
        out=f"{WORK}/mel/statistics.json",
        card=f"{WORK}/mel/statistics.json.card.json",
    log:
        f"{WORK}/logs/mel_statistics.log",
    priority: 30
    params:
        **job("mel_statistics"),


use rule stage as codebook with:
    input:
        manifest=rules.manifest.output.out,
        features=lambda wildcards: FLOW.indexes(
            "features", [getattr(EXPERIMENT.tokens, wildcards.stream).encoder]
        ),
        # A residual stream's is fitted on what its primary stream's leaves.
        codebooks=lambda wildcards: (
            expand(
                f"{WORK}/codebooks/{{stream}}.safetensors",
                stream=[primary],
            )
            if (primary := getattr(EXPERIMENT.tokens, wildcards.stream).residual_of)
            else []
        ),
    output:
        out=f"{WORK}/codebooks/{{stream}}.safetensors",
        card=f"{WORK}/codebooks/{{stream}}.safetensors.card.json",
    log:
        f"{WORK}/logs/codebook/{{stream}}.log",
    priority: 30
    params:
        **job("codebook"),


use rule stage as tokenize with:
    input:
        manifest=rules.manifest.output.out,
        codebooks=every(rules.codebook.output.out),
        features=FLOW.indexes("features", FLOW.stream_encoders),
    output:
        out=f"{WORK}/tokens/{{shard}}.safetensors",
        card=f"{WORK}/tokens/{{shard}}.safetensors.card.json",
    log:
        f"{WORK}/logs/tokenize/{{shard}}.log",
    priority: 30
    params:
        **job("tokenize"),


# Every stage that runs the model on clips reads these, and where it needs the teachers, their target vectors too.
CLIPS = {
    "manifest": rules.manifest.output.out,
    "statistics": rules.mel_statistics.output.out,
    "mel": f"{WORK}/mel/index.parquet",
    "tokens": f"{WORK}/tokens/index.parquet",
}
TARGETS = FLOW.indexes("targets", FLOW.teacher_encoders)
