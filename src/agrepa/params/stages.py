"""What each stage may read: typed settings, one class a stage.

A field is a key of the experiment: its own name, or the dotted one given with ``key``. ``{arm}`` in a key stands for the job's
wildcard of that name, ``{tokens.speech.encoder}`` for the value of another key. A stage has nothing else to read from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, dataclass_transform

from agrepa.params.archives import Archive
from agrepa.params.arms import Arm, LayerRule, RankedBy, Start, Weighting
from agrepa.params.audio import Mel, Vocoder
from agrepa.params.base import Domains
from agrepa.params.corpora import Corpora, Source
from agrepa.params.encoders import Encoder
from agrepa.params.evaluation import Frechet, Judge, Mos, Prompt, Sampling, SecondJudge, Similarity
from agrepa.params.model import Flow, Model
from agrepa.params.probes import FogA, Grid, Probes
from agrepa.params.tokens import Stream, Tokens
from agrepa.params.training import Teachers, Training


def key(path: str, **but: Any) -> Any:
    """The dotted key that a field stands for.

    Args:
        but: ``unless``, a value with which the key is no part of what a job reads: a departure that one row takes is none of the
            other rows' params.
    """
    return field(metadata={"key": path} | but)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(key,))
@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all, which makes its subclasses frozen dataclasses; a stage without parameters uses it as it is."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)


class FetchSettings(Settings):
    archive: Archive = key("archives.{archive}")


class CorporaSettings(Settings):
    """Of candidates and manifest."""

    corpora: Corpora
    seed: int


class DecodeSettings(Settings):
    corpora: Corpora
    shards: int


class AttributionSettings(Settings):
    archives: dict[str, Archive]
    sources: dict[str, Source] = key("corpora.sources")
    vocoder: Vocoder = key("evaluation.vocoder")


class MelSettings(Settings):
    mel: Mel
    sample_rate: int = key("corpora.sample_rate")
    shards: int


class MelStatisticsSettings(Settings):
    statistics: Literal["bands", "global"] = key("mel.statistics")


class EncodeSettings(Settings):
    encoder: Encoder = key("encoders.{encoder}")
    sample_rate: int = key("corpora.sample_rate")
    shards: int


class CodebookSettings(Settings):
    codebook: Stream = key("tokens.{stream}")
    seed: int


class TokenizeSettings(Settings):
    tokens: Tokens
    domains: Domains
    shards: int


class ModelSettings(Settings):
    """Of every stage that runs the velocity network."""

    seed: int
    model: Model = key("models.{kind}")
    flow: Flow
    training: Training
    mel: Mel
    tokens: Tokens
    domains: Domains
    sample_rate: int = key("corpora.sample_rate")


class WarmupSettings(ModelSettings):
    teachers: Teachers


class ArmSettings(WarmupSettings):
    model: Model = key("models.{backbone_of.{arm}}")
    target: str = key("rows.{arm}.target")
    head: str = key("rows.{arm}.head")
    schedule: str = key("rows.{arm}.schedule")
    refresh: str = key("rows.{arm}.refresh")
    k: int | None = key("rows.{arm}.k")
    weighting: Weighting = key("rows.{arm}.weighting")
    looks_deeper: bool = key("rows.{arm}.looks_deeper")
    refresh_by: tuple[str, str] | None = key("refreshes.{arm}")
    start: Start = key("rows.{arm}.start", unless="warmup")
    frozen_tokens: bool = key("rows.{arm}.frozen_tokens", unless=False)


class FogATrendSettings(ModelSettings):
    probe: FogA = key("probes.fog_a")


class FogASettings(ModelSettings):
    probe: FogA = key("probes.fog_a")
    bootstrap: int = key("probes.bootstrap")


class FogAReleasedSettings(ModelSettings):
    probe: Grid = key("probes.fog_a_released")
    denominator: Literal["velocity", "network"] = key("probes.fog_a.denominator")
    bootstrap: int = key("probes.bootstrap")


class LaspSettings(WarmupSettings):
    probe: Grid = key("probes.lasp")
    bootstrap: int = key("probes.bootstrap")


class GradientNormSettings(ModelSettings):
    probe: Grid = key("probes.gradient_norm")
    bootstrap: int = key("probes.bootstrap")


class SelectSettings(Settings):
    strategy: str = key("rows.{arm}.strategy")
    layers: LayerRule | None = key("rows.{arm}.layers")
    k: int | None = key("rows.{arm}.k")
    draw: int = key("rows.{arm}.draw")
    ranked_by: RankedBy = key("rows.{arm}.ranked_by")
    looks_deeper: bool = key("rows.{arm}.looks_deeper")
    weighting: Weighting = key("rows.{arm}.weighting")
    depth: int = key("model.depth")
    domains: Domains


class SynthesizeSettings(ModelSettings):
    model: Model = key("models.{backbone_of.{row}}")
    vocoder: Vocoder = key("evaluation.vocoder")
    sampling: Sampling = key("evaluation.sampling")
    sampling_points: bool = key("sampling_points.{row}", unless=False)
    prompt: Prompt | None = key("evaluation.prompt")
    split: Literal["validation", "test"] = key("evaluation.split")
    speech_clips: int = key("evaluation.speech_clips")
    unseen_clips: int = key("evaluation.unseen_clips")
    audio_clips: int = key("evaluation.audio_clips")


class AnchorSettings(Settings):
    mel: Mel
    sample_rate: int = key("corpora.sample_rate")
    vocoder: Vocoder = key("evaluation.vocoder")
    split: Literal["validation", "test"] = key("evaluation.split")
    speech_clips: int = key("evaluation.speech_clips")
    unseen_clips: int = key("evaluation.unseen_clips")
    audio_clips: int = key("evaluation.audio_clips")


class WerSettings(Settings):
    judge: Judge = key("evaluation.judge")
    split: Literal["validation", "test"] = key("evaluation.split")
    seed: int
    sample_rate: int = key("corpora.sample_rate")


class SecondWerSettings(Settings):
    judge: SecondJudge | None = key("evaluation.second_judge")
    split: Literal["validation", "test"] = key("evaluation.split")
    sample_rate: int = key("corpora.sample_rate")


class SimilaritySettings(Settings):
    similarity: Similarity | None = key("evaluation.similarity")
    prompt: Prompt | None = key("evaluation.prompt")
    hop: int = key("mel.hop")
    sample_rate: int = key("corpora.sample_rate")


class MosSettings(Settings):
    mos: Mos = key("evaluation.mos")
    sample_rate: int = key("corpora.sample_rate")


class UnitsSettings(Settings):
    tokens: Tokens
    domains: Domains
    speech_encoder: Encoder = key("encoders.{tokens.speech.encoder}")
    audio_encoder: Encoder = key("encoders.{tokens.audio.encoder}")
    sample_rate: int = key("corpora.sample_rate")


class EmbedSettings(Settings):
    encoder: Encoder = key("encoders.{embedding}")
    sample_rate: int = key("corpora.sample_rate")
    split: Literal["validation", "test"] = key("evaluation.split")


class FadSettings(Settings):
    frechet: Frechet = key("evaluation.frechet")
    split: Literal["validation", "test"] = key("evaluation.split")
    speech_clips: int = key("evaluation.speech_clips")
    audio_clips: int = key("evaluation.audio_clips")
    seed: int


class ScoresSettings(Settings):
    arms: list[str]
    bases: dict[str, str]
    seeds: list[int]
    control: str


class CollectSettings(Settings):
    arms: list[str]
    seeds: list[int]


class ListeningSettings(Settings):
    clips: int = key("reporting.listening_clips")
    split: Literal["validation", "test"] = key("evaluation.split")
    domains: Domains
    mel: Mel
    sample_rate: int = key("corpora.sample_rate")


class TablesSettings(Settings):
    rows: dict[str, Arm]
    backbones: dict[str, str]
    backbone_of: dict[str, str]
    depth: int = key("model.depth")
    probes: Probes
    training: Training
    control_times: list[float] = key("probes.fog_a.control_times")
    settled: float = key("probes.fog_a.settled")
    tokens: Tokens
    domains: Domains
    teachers: Teachers
    encoders: dict[str, Encoder]
    embeddings: list[str] = key("evaluation.frechet.embeddings")
    judge: Archive = key("archives.{evaluation.judge.archive}")
    split: Literal["validation", "test"] = key("evaluation.split")
    data_note: str = key("reporting.data_note")


class FiguresSettings(Settings):
    rows: dict[str, Arm]
    settled: float = key("probes.fog_a.settled")
    encoders: dict[str, Encoder]
    embeddings: list[str] = key("evaluation.frechet.embeddings")
    data_note: str = key("reporting.data_note")


class ClaimsSettings(FiguresSettings):
    depth: int = key("model.depth")
    warmup_steps: int = key("training.warmup_steps")
    split: Literal["validation", "test"] = key("evaluation.split")


class ReportSettings(FiguresSettings):
    name: str
    split: Literal["validation", "test"] = key("evaluation.split")
