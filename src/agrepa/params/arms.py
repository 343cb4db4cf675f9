"""The rows of the tables: which layers an arm aligns, with which weights, to what and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from agrepa.params.base import Count, Filled, Name, Strict, Text, Whole

RESERVED = {"ground_truth", "copy_synthesis", "control", "warmup"}  # rows of the tables or curves that are no arms
WITHOUT_PROBE = ("none", "fixed", "random")  # strategies; every other one is the name of a probe
REFRESHABLE = ("fog_a",)  # strategies whose layers can be taken anew while the arm trains
CONTROLLED = ("fog_a",)  # strategies whose probe measures controls beside its score, by which layers can be ranked too
LOOKING_DEEPER = ("internal", "internal_pooled", "average")  # targets that are a deeper layer of the model itself
FRAMES = ("frames", "frames_standardised")  # targets that read the teachers' frames

Weighting = Literal["equal", "score", "score_by_time", "twice_score"]
RankedBy = Literal["score", "update_size", "mean_ablation"]
Start = Literal["warmup", "scratch"]


class LayerRule(Strict):
    """Layers as they scale with depth n: fractions of n, the first ``shallow``, or the ``deep`` ones that end at n-2."""

    fractions: Filled[Annotated[float, Field(gt=0, le=1)]] | None = None
    shallow: Count | None = None
    deep: Count | None = None

    @model_validator(mode="after")
    def _one(self) -> LayerRule:
        if sum(v is not None for v in (self.fractions, self.shallow, self.deep)) != 1:
            raise ValueError("a layer rule has exactly one of fractions, shallow, deep")
        return self


class Arm(Strict):
    """One row of the tables. Arms differ from each other only in what is stated here.

    ``strategy`` is none, fixed, random or the name of a probe; ``target``, ``head``, ``schedule`` and ``refresh`` are modules
    of ``agrepa.alignment``: targets, heads, schedules and layers.

    Attributes:
        backbone: the kind of model that the arm is of; that of ``model.kind`` where it says none. Its warm-up, its probe and the
            Base that it is compared with are those of this backbone.
        draw: which of the random sets of k layers, all of them different; the first is 0.
        ranked_by: which number of the probe ranks the layers: its score, or one of the controls that stand beside it.
        weighting: the same weight for each layer; in proportion to the score; at each t in proportion to the score at t; or twice
            the score as it is, so that the weights have another sum.
        start: where training begins: at the end of the warm-up, or where that began, for the steps of both phases.
        frozen_tokens: the token embedding, its tables and their projection, does not learn.
        sampling_points: ``evaluation.sampling.steps`` counts the points on [0, 1] of which one step lies between two.
    """

    label: Text
    strategy: Name
    layers: LayerRule | None = None
    k: Count | None = None
    draw: Whole = 0
    backbone: Name | None = None
    ranked_by: RankedBy = "score"
    weighting: Weighting = "equal"
    target: Name = "pooled"
    head: Name = "mlp"
    schedule: Name = "constant"
    refresh: Name = "frozen"
    start: Start = "warmup"
    frozen_tokens: bool = False
    sampling_points: bool = False
    paper: dict[str, str] = {}

    @model_validator(mode="after")
    def _complete(self) -> Arm:
        said = f"strategy {self.strategy!r}"
        if (self.strategy == "fixed") != (self.layers is not None):
            raise ValueError(f"{said}: 'layers' belongs to strategy 'fixed' and only to it")
        if (self.strategy not in ("none", "fixed")) != (self.k is not None):
            raise ValueError(f"{said}: 'k' belongs to random and to the probes, and only to them")
        if self.draw and self.strategy != "random":
            raise ValueError(f"{said} draws no layers: remove 'draw', or use strategy: random")
        if self.ranked_by != "score" and self.strategy not in CONTROLLED:
            raise ValueError(f"{said} measures no {self.ranked_by!r}, only {', '.join(CONTROLLED)} does: use ranked_by: score")
        if self.weighting == "score_by_time" and (self.ranked_by != "score" or self.refresh != "frozen"):
            raise ValueError("weighting 'score_by_time' is of the probe's score: use ranked_by: score and refresh: frozen")
        if self.weighting != "equal" and self.strategy in WITHOUT_PROBE:
            raise ValueError(f"{said} has no scores to weight layers by: use weighting: equal")
        if self.refresh != "frozen" and self.strategy not in REFRESHABLE:
            raise ValueError(f"{said} takes no layers anew, only {', '.join(REFRESHABLE)} does: use refresh: frozen")
        if self.refresh != "frozen" and self.ranked_by != "score":
            raise ValueError(f"refresh {self.refresh!r} ranks layers by their score: use ranked_by: score, or refresh: frozen")
        # From scratch Base would be Base once more; otherwise trained or sampled, it would be no measure of the others.
        for name in ("target", "head", "schedule", "start", "frozen_tokens", "sampling_points"):
            if self.strategy == "none" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{said} aligns nothing and has no {name!r}: remove it, or give the arm another strategy")
        return self

    @property
    def differs_in_layers_alone(self) -> bool:
        """Whether the arm is Eq. 12 with equal weights, so that only which layers it aligns sets it apart."""
        keys = ("backbone", "weighting", "target", "head", "schedule", "refresh", "start", "frozen_tokens", "sampling_points")
        return all(getattr(self, key) == type(self).model_fields[key].default for key in keys)

    def same_but_backbone(self, other: Arm) -> bool:
        """Whether only the backbone sets two rows apart, beside their labels."""
        aside = {"label", "paper", "backbone"}
        return self.model_dump(exclude=aside) == other.model_dump(exclude=aside)

    @property
    def looks_deeper(self) -> bool:
        """Whether its target is a deeper layer of the model itself, which the last layer does not have."""
        return self.target in LOOKING_DEEPER

    @property
    def from_scratch(self) -> bool:
        """Whether it begins where the warm-up began, with the centres of the codebooks."""
        return self.start == "scratch"

    @property
    def reads_frames(self) -> bool:
        """Whether its target reads the teachers' frames."""
        return self.strategy != "none" and self.target in FRAMES
