"""Downloads, and the corpora as one manifest and clips: what there is, once; decoding, in shards; what was kept."""


use rule stage as fetch with:
    output:
        out="downloads/{archive}.{suffix}",
        card="downloads/{archive}.{suffix}.card.json",
    log:
        "downloads/logs/{archive}.{suffix}.log",
    priority: 30
    localrule: True
    resources:
        network=1,
    params:
        **job("fetch"),


use rule stage as candidates with:
    input:
        archives=FLOW.corpus_archives,
        listed=FLOW.own_recordings,
    output:
        out=f"{WORK}/candidates.parquet",
        unusable=f"{WORK}/candidates.unusable.csv",
        card=f"{WORK}/candidates.parquet.card.json",
    log:
        f"{WORK}/logs/candidates.log",
    priority: 30
    params:
        **job("candidates"),


use rule stage as decode with:
    input:
        candidates=rules.candidates.output.out,
        archives=FLOW.corpus_archives,
        listed=FLOW.own_recordings,
    output:
        clips=directory(f"{WORK}/clips/{{shard}}"),
        rows=f"{WORK}/clips/{{shard}}.parquet",
        card=f"{WORK}/clips/{{shard}}.parquet.card.json",
    log:
        f"{WORK}/logs/decode/{{shard}}.log",
    priority: 30
    params:
        **job("decode"),


use rule stage as manifest with:
    input:
        # As text beside a long list: see `cards`.
        candidates=f"{WORK}/candidates.parquet",
        rows=every(rules.decode.output.rows),
    output:
        out=f"{WORK}/manifest.parquet",
        card=f"{WORK}/manifest.parquet.card.json",
    log:
        f"{WORK}/logs/manifest.log",
    priority: 30
    params:
        **job("manifest"),


use rule stage as attribution with:
    input:
        manifest=rules.manifest.output.out,
    output:
        out=f"{RESULTS}/ATTRIBUTION.md",
        card=f"{RESULTS}/ATTRIBUTION.md.card.json",
    log:
        f"{WORK}/logs/attribution.log",
    localrule: True
    params:
        **job("attribution"),
