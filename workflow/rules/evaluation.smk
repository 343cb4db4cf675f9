"""Audio of every row, and every metric of it."""


use rule stage as anchor with:
    input:
        manifest=rules.manifest.output.out,
        mel=f"{WORK}/mel/index.parquet",
        archives=FLOW.vocoder_archives,
    output:
        out=directory(f"{WORK}/audio/{{row}}/seed{EXPERIMENT.seed}"),
        card=f"{WORK}/audio/{{row}}/seed{EXPERIMENT.seed}.card.json",
    log:
        f"{WORK}/logs/anchor/{{row}}.log",
    wildcard_constraints:
        row="|".join(rows.ANCHORS),
    params:
        **job("anchor"),


use rule stage as synthesize with:
    input:
        settled,
        **CLIPS,
        checkpoint=lambda wildcards: expand(
            rules.train.output.checkpoint,
            arm=rows.model_of(wildcards.row, EXPERIMENT.control),
            seed=wildcards.seed,
        ),
        archives=FLOW.vocoder_archives,
    output:
        out=directory(f"{WORK}/audio/{{row}}/seed{{seed}}"),
        card=f"{WORK}/audio/{{row}}/seed{{seed}}.card.json",
    log:
        f"{WORK}/logs/synthesize/{{row}}.seed{{seed}}.log",
    wildcard_constraints:
        row="|".join([*EXPERIMENT.arms, *rows.CONTROLS]),
    # Before any metric: the metrics of the last arm wait for its audio while the other core has nothing left to do.
    priority: 5
    threads: EXPERIMENT.threads.evaluation
    params:
        **job("synthesize"),


AUDIO = f"{WORK}/audio/{{row}}/seed{{seed}}"
METRIC = f"{WORK}/metrics/{{row}}/seed{{seed}}"


use rule stage as wer with:
    input:
        settled,
        manifest=rules.manifest.output.out,
        audio=AUDIO,
        archive=FLOW.download(EXPERIMENT.evaluation.judge.archive),
    output:
        out=f"{METRIC}/wer.json",
        utterances=f"{METRIC}/wer.parquet",
        card=f"{METRIC}/wer.json.card.json",
    log:
        f"{WORK}/logs/wer/{{row}}.seed{{seed}}.log",
    params:
        **job("wer"),


if EXPERIMENT.evaluation.second_judge:

    use rule stage as second_wer with:
        input:
            settled,
            manifest=rules.manifest.output.out,
            audio=AUDIO,
            archive=FLOW.download(EXPERIMENT.evaluation.second_judge.archive),
        output:
            out=f"{METRIC}/second_wer.json",
            utterances=f"{METRIC}/second_wer.parquet",
            card=f"{METRIC}/second_wer.json.card.json",
        log:
            f"{WORK}/logs/second_wer/{{row}}.seed{{seed}}.log",
        params:
            **job("second_wer"),


if EXPERIMENT.evaluation.similarity:

    use rule stage as similarity with:
        input:
            settled,
            manifest=rules.manifest.output.out,
            mel=f"{WORK}/mel/index.parquet",
            audio=AUDIO,
            archive=FLOW.download(EXPERIMENT.evaluation.similarity.archive),
        output:
            out=f"{METRIC}/similarity.json",
            utterances=f"{METRIC}/similarity.parquet",
            card=f"{METRIC}/similarity.json.card.json",
        log:
            f"{WORK}/logs/similarity/{{row}}.seed{{seed}}.log",
        params:
            **job("similarity"),


use rule stage as mos with:
    input:
        settled,
        manifest=rules.manifest.output.out,
        audio=AUDIO,
        archive=FLOW.download(EXPERIMENT.evaluation.mos.archive),
    output:
        out=f"{METRIC}/mos.json",
        utterances=f"{METRIC}/mos.parquet",
        card=f"{METRIC}/mos.json.card.json",
    log:
        f"{WORK}/logs/mos/{{row}}.seed{{seed}}.log",
    params:
        **job("mos"),


use rule stage as units with:
    input:
        settled,
        manifest=rules.manifest.output.out,
        audio=AUDIO,
        tokens=f"{WORK}/tokens/index.parquet",
        codebooks=expand(rules.codebook.output.out, stream=EXPERIMENT.domains),
        archives=FLOW.encoder_archives(
            *(
                getattr(EXPERIMENT.tokens, domain).encoder
                for domain in EXPERIMENT.domains
            )
        ),
    output:
        out=f"{METRIC}/units.json",
        utterances=f"{METRIC}/units.parquet",
        card=f"{METRIC}/units.json.card.json",
    log:
        f"{WORK}/logs/units/{{row}}.seed{{seed}}.log",
    params:
        **job("units"),


use rule stage as embed with:
    input:
        settled,
        manifest=rules.manifest.output.out,
        audio=AUDIO,
        archives=lambda wildcards: FLOW.encoder_archives(wildcards.embedding),
    output:
        out=f"{WORK}/embeddings/{{row}}/seed{{seed}}/{{embedding}}.safetensors",
        card=f"{WORK}/embeddings/{{row}}/seed{{seed}}/{{embedding}}.safetensors.card.json",
    log:
        f"{WORK}/logs/embed/{{row}}.seed{{seed}}.{{embedding}}.log",
    params:
        **job("embed"),


use rule stage as fad with:
    input:
        settled,
        manifest=rules.manifest.output.out,
        reference=f"{WORK}/features/{{embedding}}/index.parquet",
        evaluated=rules.embed.output.out,
    output:
        out=f"{METRIC}/fad_{{embedding}}.json",
        utterances=f"{METRIC}/fad_{{embedding}}.parquet",
        card=f"{METRIC}/fad_{{embedding}}.json.card.json",
    log:
        f"{WORK}/logs/fad/{{row}}.seed{{seed}}.{{embedding}}.log",
    params:
        **job("fad"),


MEASURED = [rules.wer.output, rules.mos.output, rules.units.output, rules.fad.output]
if EXPERIMENT.evaluation.second_judge:
    MEASURED.append(rules.second_wer.output)
if EXPERIMENT.evaluation.similarity:
    MEASURED.append(rules.similarity.output)
METRICS = [path for output in MEASURED for path in every(output.out)]
UTTERANCES = [path for output in MEASURED for path in every(output.utterances)]


use rule stage as scores with:
    input:
        settled,
        metrics=METRICS,
        utterances=UTTERANCES,
        losses=every(rules.train.output.validation),
    output:
        out=f"{RESULTS}/scores/scores.csv",
        pairs=f"{RESULTS}/scores/pairs.csv",
        values=f"{RESULTS}/scores/metrics.json",
        transcripts=f"{RESULTS}/scores/transcripts.csv",
        card=f"{WORK}/cards/scores.json",
    log:
        f"{WORK}/logs/scores.log",
    params:
        **job("scores"),


use rule stage as listening with:
    input:
        settled,
        manifest=rules.manifest.output.out,
        audio=[
            AUDIO.format(row=row, seed=seed)
            for row, seed in FLOW.evaluated
            if int(seed) in (EXPERIMENT.seed, EXPERIMENT.seeds[0])
        ],
    output:
        out=directory(f"{RESULTS}/scores/listening"),
        card=f"{WORK}/cards/listening.json",
    log:
        f"{WORK}/logs/listening.log",
    params:
        **job("listening"),
