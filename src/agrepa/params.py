"""The one schema of every experiment: params files, rows of the tables, archive pins.

An experiment is ``params/<name>.yaml`` together with ``params/arms.yaml`` (the rows) and ``params/archives.yaml``
(the pinned downloads). Unknown keys are errors. Layers count from 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agrepa.errors import ParamsError

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(Strict):
    """How many clips of each domain a split takes at most; null takes all there are."""

    speech: Count | None
    audio: Count | None


class Corpora(Strict):
    sources: Annotated[list[Literal["queen", "game_sounds", "folder"]], Field(min_length=1)]
    folder_csv: str | None = None
    sample_rate: Literal[16000, 22050, 24000]
    bandwidth_hz: Positive
    min_seconds: Positive
    max_seconds: Positive
    train: Split
    validation: Split
    test: Split

    @model_validator(mode="after")
    def _consistent(self) -> Corpora:
        if self.min_seconds >= self.max_seconds:
            raise ValueError(f"min_seconds {self.min_seconds} must be below max_seconds {self.max_seconds}")
        if self.bandwidth_hz > self.sample_rate / 2:
            raise ValueError(f"bandwidth_hz {self.bandwidth_hz} is above half the sample rate {self.sample_rate}")
        if "folder" in self.sources and not self.folder_csv:
            raise ValueError("source 'folder' needs folder_csv, the path of the CSV that lists your recordings")
        return self


class Mel(Strict):
    n_fft: Count
    hop: Count
    bands: Count
    f_min: Annotated[float, Field(ge=0)]
    f_max: Positive
    scale: Literal["htk", "slaney"]
    norm: Literal["slaney"] | None
    padding: Literal["center", "same"]
    floor: Positive


class Encoder(Strict):
    """What a frozen network leaves on disk: frame-level outputs by name, and outputs kept as a mean over time."""

    domains: list[Literal["speech", "audio"]]
    frames: list[str] = []
    means: list[str] = []
    batch_seconds: Positive = 60.0


class Encoders(Strict):
    whisper: Encoder
    yamnet: Encoder
    aisfx: Encoder

    def __getitem__(self, name: str) -> Encoder:
        return getattr(self, name)


class Stream(Strict):
    """A codebook: k-means with ``vocabulary`` centres over one encoder's output, fitted on ``domains`` of the training split."""

    encoder: Literal["whisper", "yamnet"]
    output: str
    domains: list[Literal["speech", "audio"]]
    vocabulary: Annotated[int, Field(ge=2)]
    iterations: Count
    max_frames: Count


class Tokens(Strict):
    config: Literal["A", "B"]
    speech: Stream
    audio: Stream
    second: Stream


class Teachers(Strict):
    """Outputs whose mean over time is a clip's target vector: semantic for speech, acoustic for audio."""

    speech: tuple[Literal["whisper", "yamnet"], str]
    audio: tuple[Literal["whisper", "yamnet"], str]


class Model(Strict):
    depth: Annotated[int, Field(ge=2)]
    width: Count
    heads: Count
    ff_mult: Count
    conv_kernel: Count
    dropout: Fraction
    token_width: Count
    head_width: Count

    @model_validator(mode="after")
    def _divisible(self) -> Model:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} must give each of {self.heads} heads an even number of channels")
        if self.conv_kernel % 2 == 0:
            raise ValueError(f"conv_kernel {self.conv_kernel} must be odd, so that a frame stays in the middle of it")
        return self


class Flow(Strict):
    noise_scale: Positive


class Training(Strict):
    batch_frames: Count
    learning_rate: Positive
    lr_warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    gradient_clip: Positive
    ema: Fraction
    condition_dropout: Fraction
    reference_dropout: Fraction
    reference_fraction: Fraction
    bit_c_weight: dict[Literal["speech", "audio"], float]
    alignment_weight: Annotated[float, Field(ge=0)]
    precision: Literal["32-true", "bf16-mixed"]
    accelerator: Literal["cpu", "auto", "cuda"]
    warmup_steps: Count
    arm_steps: Count
    log_every: Count
    validate_every: Count
    checkpoint_every: Count
    snapshot_every: Count
    validation_times: list[Fraction]

    @model_validator(mode="after")
    def _multiples(self) -> Training:
        for name in ("validate_every", "checkpoint_every"):
            if getattr(self, name) % self.log_every:
                raise ValueError(f"{name} {getattr(self, name)} must be a multiple of log_every {self.log_every}")
        if self.snapshot_every % self.validate_every:
            raise ValueError(f"snapshot_every {self.snapshot_every} must be a multiple of validate_every {self.validate_every}")
        return self


class FogA(Strict):
    clips: Count
    times: list[Fraction]
    norm: Literal["l2", "squared_l2"]
    trend_clips: Count


class Lasp(Strict):
    clips: Count
    times: list[Fraction]


class GradientNorm(Strict):
    clips: Count
    times: list[Fraction]


class Probes(Strict):
    fog_a: FogA
    lasp: Lasp
    gradient_norm: GradientNorm
    bootstrap: Count


class Sampling(Strict):
    steps: Count
    guidance: Annotated[float, Field(ge=0)]
    sway: Annotated[float, Field(ge=-1, le=2 / (3.141592653589793 - 2))]
    temperature: Positive


class Judge(Strict):
    beam_size: Count
    temperatures: list[Fraction]
    compression_ratio: Positive
    log_probability: float
    max_tokens_per_second: Positive


class Frechet(Strict):
    embeddings: list[Literal["yamnet", "aisfx"]]
    reference_clips: Count
    subset_sizes: Annotated[int, Field(ge=2)]
    bootstrap: Count


class Evaluation(Strict):
    split: Literal["validation", "test"]
    speech_clips: Count
    audio_clips: Count
    anchor_speech_clips: Count
    anchor_audio_clips: Count
    vocoder: Literal["griffin_lim", "hifigan"]
    griffin_lim_iterations: Count
    sampling: Sampling
    judge: Judge
    frechet: Frechet
    bootstrap: Count

    @model_validator(mode="after")
    def _anchors_cover_arms(self) -> Evaluation:
        for domain in ("speech", "audio"):
            arm, anchor = getattr(self, f"{domain}_clips"), getattr(self, f"anchor_{domain}_clips")
            if anchor < arm:
                raise ValueError(
                    f"anchor_{domain}_clips {anchor} must be at least {domain}_clips {arm}, whose clips are the first of them"
                )
        return self


class Threads(Strict):
    """Torch threads of one job of each kind. They are part of the result: 1 and 2 threads round differently."""

    features: Count
    warmup: Count
    arms: Count
    evaluation: Count


class Reporting(Strict):
    data_note: str
    listening_clips: Count


class LayerRule(Strict):
    """Layers as they scale with depth n: fractions of n, the first ``shallow``, or the ``deep`` ones that end at n-2."""

    fractions: list[Fraction] | None = None
    shallow: Count | None = None
    deep: Count | None = None

    @model_validator(mode="after")
    def _one(self) -> LayerRule:
        if sum(v is not None for v in (self.fractions, self.shallow, self.deep)) != 1:
            raise ValueError("a layer rule has exactly one of fractions, shallow, deep")
        return self


class Arm(Strict):
    """One row of the tables. Arms differ from each other only in which layers they align and with which weights."""

    label: str
    strategy: Literal["none", "fixed", "random", "lasp", "gradient_norm", "fog_a"]
    layers: LayerRule | None = None
    k: Count | None = None
    weighting: Literal["equal", "score"] = "equal"
    head: Literal["mlp"] = "mlp"
    paper: dict[str, str] = {}

    @model_validator(mode="after")
    def _complete(self) -> Arm:
        if (self.strategy == "fixed") != (self.layers is not None):
            raise ValueError(f"strategy {self.strategy!r}: 'layers' belongs to strategy 'fixed' and only to it")
        if (self.strategy in ("random", "lasp", "gradient_norm", "fog_a")) != (self.k is not None):
            raise ValueError(
                f"strategy {self.strategy!r}: 'k' belongs to random, lasp, gradient_norm and fog_a, and only to them"
            )
        if self.weighting == "score" and self.strategy not in ("lasp", "gradient_norm", "fog_a"):
            raise ValueError(f"strategy {self.strategy!r} has no scores to weight layers by: use weighting: equal")
        return self


class Archive(Strict):
    """A pinned download: ``deb`` through apt, ``wheel`` through pip."""

    kind: Literal["deb", "wheel"]
    package: str
    version: str
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    megabytes: Positive
    pool: str | None = None
    role: str
    licence: str
    attribution: str


RESERVED = {"ground_truth", "copy_synthesis", "control"}  # rows that are no arms


class Experiment(Strict):
    """A whole experiment; see ``params/demo.yaml`` for what each key means."""

    # Set by the runner on a stage's view: everything that the job's result depends on.
    fingerprint: ClassVar[object] = None

    name: Name
    seed: Annotated[int, Field(ge=0)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    arms: Annotated[list[Name], Field(min_length=1)]
    control: Name
    shards: Count
    threads: Threads
    corpora: Corpora
    mel: Mel
    encoders: Encoders
    tokens: Tokens
    teachers: Teachers
    model: Model
    flow: Flow
    training: Training
    probes: Probes
    evaluation: Evaluation
    reporting: Reporting
    rows: dict[Name, Arm]
    archives: dict[Name, Archive]

    @model_validator(mode="after")
    def _rows_exist(self) -> Experiment:
        if taken := sorted(RESERVED & set(self.rows)):
            raise ValueError(f"arms.yaml must not have {', '.join(taken)}: the tables have rows of that name already")
        if "base" not in self.arms or self.rows.get("base") is None or self.rows["base"].strategy != "none":
            raise ValueError("arms must have 'base' with strategy none: every difference is taken to it")
        for arm in (*self.arms, self.control):
            if arm not in self.rows:
                raise ValueError(f"arm {arm!r} is not in arms.yaml, which has: {', '.join(self.rows)}")
        if self.control not in self.arms:
            raise ValueError(f"control {self.control!r} must be one of the arms: its model is the one that gets foreign tokens")
        if len(set(self.arms)) != len(self.arms) or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("arms and seeds must not repeat")
        for arm in self.arms:
            k = self.rows[arm].k
            if k is not None and k > self.model.depth:
                raise ValueError(
                    f"arm {arm!r} asks for k = {k} layers and the model has {self.model.depth}: lower k or raise model.depth"
                )
        if self.mel.f_max > self.corpora.sample_rate / 2:
            raise ValueError(f"mel.f_max {self.mel.f_max} is above half the sample rate {self.corpora.sample_rate}")
        if self.evaluation.vocoder == "hifigan" and (self.corpora.sample_rate, self.mel.bands, self.mel.hop) != (22050, 80, 256):
            raise ValueError(
                "vocoder hifigan reads 80 mel bands at 22050 Hz and hop 256: change corpora and mel, or use griffin_lim"
            )
        return self


FILES = {"rows": "arms.yaml", "archives": "archives.yaml"}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises ParamsError when the file is missing, is not YAML, or is not a mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such params file") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise ParamsError(f"{path}: expected a mapping of keys, found {type(data).__name__}")
    return data


def load(path: Path | str) -> Experiment:
    """Read and validate an experiment with the arms.yaml and archives.yaml that lie beside it.

    Raises ParamsError that names the file, every offending key, its value and what is expected.
    """
    path = Path(path)
    data = read_yaml(path)
    for key, name in FILES.items():
        if key in data:
            raise ParamsError(f"{path}: key {key!r} belongs in {path.with_name(name)}")
        data[key] = read_yaml(path.with_name(name))
    try:
        return Experiment.model_validate(data)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            where = item["loc"]
            file = path.with_name(FILES[str(where[0])]) if where and where[0] in FILES else path
            key = ".".join(map(str, where[1:] if file != path else where)) or "(whole file)"
            value = "" if isinstance(item["input"], dict) else f" (found {item['input']!r})"
            lines.append(f"{file}: {key}: {item['msg'].removeprefix('Value error, ')}{value}")
        raise ParamsError("\n".join(lines)) from None
