"""The rows of the tables: which layers an arm aligns, with which weights, to what and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from agrepa.params.base import Count, Filled, Name, Strict, Text

RESERVED = {"ground_truth", "copy_synthesis", "control", "warmup"}  # rows of the tables or curves that are no arms
WITHOUT_PROBE = ("none", "fixed", "random")  # strategies; every other one is the name of a probe
REFRESHABLE = ("fog_a",)  # strategies whose layers can be taken anew while the arm trains


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
    """

    label: Text
    strategy: Name
    layers: LayerRule | None = None
    k: Count | None = None
    weighting: Literal["equal", "score"] = "equal"
    target: Name = "pooled"
    head: Name = "mlp"
    schedule: Name = "constant"
    refresh: Name = "frozen"
    paper: dict[str, str] = {}

    @model_validator(mode="after")
    def _complete(self) -> Arm:
        said = f"strategy {self.strategy!r}"
        if (self.strategy == "fixed") != (self.layers is not None):
            raise ValueError(f"{said}: 'layers' belongs to strategy 'fixed' and only to it")
        if (self.strategy not in ("none", "fixed")) != (self.k is not None):
            raise ValueError(f"{said}: 'k' belongs to random and to the probes, and only to them")
        if self.weighting == "score" and self.strategy in WITHOUT_PROBE:
            raise ValueError(f"{said} has no scores to weight layers by: use weighting: equal")
        if self.refresh != "frozen" and self.strategy not in REFRESHABLE:
            raise ValueError(f"{said} takes no layers anew, only {', '.join(REFRESHABLE)} does: use refresh: frozen")
        for name in ("target", "head", "schedule"):
            if self.strategy == "none" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{said} aligns nothing and has no {name!r}: remove it, or give the arm another strategy")
        return self
