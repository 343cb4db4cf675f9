"""The one table of stages: where each begins, what it may read, and which threads bound it.

Everything else about a stage follows: its arguments from the entry point's signature, its keys from its settings class, its
source from what the entry point imports. The files that it reads and writes are its rule's, in ``workflow/rules``.
"""

from __future__ import annotations

from dataclasses import dataclass

from agrepa.params import stages as settings
from agrepa.params.stages import Settings

BACKBONE = "agrepa.model.{kind}"
BACKBONE_OF_ARM, BACKBONE_OF_ROW = (f"agrepa.model.{{backbone_of.{{{wildcard}}}}}" for wildcard in ("arm", "row"))
CORPORA = "agrepa.corpora.{corpora.sources.*.kind}"
VOCODER = "agrepa.audio.vocoders.{evaluation.vocoder.kind}"
SUPERVISION = (
    "agrepa.alignment.targets.{rows.{arm}.target}",
    "agrepa.alignment.heads.{rows.{arm}.head}",
    "agrepa.alignment.schedules.{rows.{arm}.schedule}",
    "agrepa.alignment.layers.{rows.{arm}.refresh}",
)


@dataclass(frozen=True)
class Stage:
    """One kind of job.

    Attributes:
        entry: ``module:function``.
        settings: the keys that it may read, typed.
        threads: which entry of ``threads`` bounds the job.
        named: modules imported by a name in the params; ``{…}`` is a wildcard or a key, ``*`` every entry of a mapping.
        aligned: likewise, where the arm aligns at all (its strategy is not ``none``).
    """

    entry: str
    settings: type[Settings] = Settings
    threads: str = "features"
    named: tuple[str, ...] = ()
    aligned: tuple[str, ...] = ()


STAGES = {
    "fetch": Stage("agrepa.archives.fetch:run", settings.FetchSettings),
    "candidates": Stage("agrepa.corpora.candidates:run", settings.CorporaSettings, named=(CORPORA,)),
    "decode": Stage("agrepa.corpora.decode:run", settings.DecodeSettings, named=(CORPORA,)),
    "manifest": Stage("agrepa.corpora.build_manifest:run", settings.CorporaSettings),
    "attribution": Stage("agrepa.corpora.attribution:run", settings.AttributionSettings, named=(CORPORA,)),
    "mel": Stage("agrepa.data.mel_features:run", settings.MelSettings),
    "mel_statistics": Stage("agrepa.data.mel_statistics:run", settings.MelStatisticsSettings),
    "encode": Stage("agrepa.encoders.extract:run", settings.EncodeSettings, named=("agrepa.encoders.{encoders.{encoder}.kind}",)),
    "index": Stage("agrepa.artifacts.features:index"),
    "codebook": Stage("agrepa.tokens.codebook:run", settings.CodebookSettings),
    "tokenize": Stage("agrepa.tokens.tokenize:run", settings.TokenizeSettings),
    "warmup": Stage("agrepa.training.warmup:run", settings.WarmupSettings, "warmup", (BACKBONE,)),
    "fog_a": Stage("agrepa.probes.fog_a:run", settings.FogASettings, "warmup", (BACKBONE,)),
    "fog_a_trend": Stage("agrepa.probes.fog_a_trend:run", settings.FogATrendSettings, "arms", (BACKBONE,)),
    "fog_a_released": Stage("agrepa.probes.fog_a_released:run", settings.FogAReleasedSettings, "arms", (BACKBONE,)),
    "lasp": Stage("agrepa.probes.lasp:run", settings.LaspSettings, "arms", (BACKBONE,)),
    "gradient_norm": Stage("agrepa.probes.gradient_norm:run", settings.GradientNormSettings, "arms", (BACKBONE,)),
    "select": Stage("agrepa.selection:run", settings.SelectSettings),
    "train": Stage("agrepa.training.arm:run", settings.ArmSettings, "arms", (BACKBONE_OF_ARM,), SUPERVISION),
    "anchor": Stage("agrepa.evaluation.anchors:run", settings.AnchorSettings, "evaluation", (VOCODER,)),
    "synthesize": Stage("agrepa.evaluation.synthesis:run", settings.SynthesizeSettings, "evaluation", (BACKBONE_OF_ROW, VOCODER)),
    "wer": Stage("agrepa.evaluation.wer:run", settings.WerSettings, "evaluation"),
    "second_wer": Stage("agrepa.evaluation.second_wer:run", settings.SecondWerSettings, "evaluation"),
    "similarity": Stage("agrepa.evaluation.similarity:run", settings.SimilaritySettings, "evaluation"),
    "mos": Stage("agrepa.evaluation.mos:run", settings.MosSettings, "evaluation"),
    "units": Stage(
        "agrepa.evaluation.units:run",
        settings.UnitsSettings,
        "evaluation",
        ("agrepa.encoders.{encoders.{tokens.speech.encoder}.kind}", "agrepa.encoders.{encoders.{tokens.audio.encoder}.kind}"),
    ),
    "embed": Stage(
        "agrepa.evaluation.embeddings:run",
        settings.EmbedSettings,
        "evaluation",
        ("agrepa.encoders.{encoders.{embedding}.kind}",),
    ),
    "fad": Stage("agrepa.evaluation.frechet:run", settings.FadSettings, "evaluation"),
    "scores": Stage("agrepa.evaluation.scores:run", settings.ScoresSettings, "evaluation"),
    "collect": Stage("agrepa.evaluation.collect:run", settings.CollectSettings, "evaluation"),
    "listening": Stage("agrepa.evaluation.listening_clips:run", settings.ListeningSettings, "evaluation"),
    "cards": Stage("agrepa.pipeline.lineage:gather", threads="evaluation"),
    "tables": Stage("agrepa.reporting.tables:run", settings.TablesSettings, "evaluation"),
    "figures": Stage("agrepa.reporting.figures:run", settings.FiguresSettings, "evaluation"),
    "claims": Stage("agrepa.reporting.claims:run", settings.ClaimsSettings, "evaluation"),
    "report": Stage("agrepa.reporting.report:run", settings.ReportSettings, "evaluation"),
}
