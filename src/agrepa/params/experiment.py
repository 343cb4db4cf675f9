"""A whole experiment, and how it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, model_validator

from agrepa.errors import ParamsError
from agrepa.params import checks
from agrepa.params.archives import Archive
from agrepa.params.arms import RESERVED, Arm
from agrepa.params.audio import Mel
from agrepa.params.base import PACKAGE, Count, Domains, Filled, Name, Slip, Slips, Strict, Whole, kinds, stated
from agrepa.params.corpora import Corpora
from agrepa.params.encoders import Encoder
from agrepa.params.evaluation import Evaluation
from agrepa.params.model import Flow, Model
from agrepa.params.probes import Probes
from agrepa.params.reading import read_params, read_yaml, source_of
from agrepa.params.reporting import Reporting
from agrepa.params.tokens import Tokens
from agrepa.params.training import Teachers, Training

# What pydantic's types of errors mean for a person, where its own words say too little.
WORDS = {
    "extra_forbidden": "Extra inputs are not permitted: remove the key or correct its name",
    "missing": "is missing: add it",
    "too_short": "is empty and needs one at least",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
}
FILES = {"rows": "arms.yaml", "archives": "archives.yaml"}


class Threads(Strict):
    """Torch threads of one job of each kind. They are part of the result: 1 and 2 threads round differently."""

    features: Count
    warmup: Count
    arms: Count
    evaluation: Count


class Experiment(Strict):
    """A whole experiment; see ``params/demo.yaml`` for what each key means."""

    name: Name
    seed: Whole
    seeds: Filled[Whole]
    arms: Filled[Name]
    control: Name
    shards: Count
    threads: Threads
    numerics: Literal["portable", "native"]
    corpora: Corpora
    mel: Mel
    encoders: Annotated[dict[Name, Encoder], Field(min_length=1)]
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

    @property
    def domains(self) -> Domains:
        """The domains that the experiment has clips of; what is stated of the other one is not used."""
        return self.corpora.domains

    @property
    def backbones(self) -> dict[str, str]:
        """Kind of model -> the paper's backbone that it stands for: its module states it as PAPER."""
        found = {kind: stated("model", kind, "PAPER") for kind in kinds("model", "build")}
        return {kind: name for kind, name in found.items() if name}

    @property
    def models(self) -> dict[str, Model]:
        """Kind -> the model of that kind, for each backbone that a row of arms.yaml is of."""
        return {kind: self.model.model_copy(update={"kind": kind}) for kind in {self.model.kind, *self.backbone_of.values()}}

    @property
    def backbone_of(self) -> dict[str, str]:
        """Row of arms.yaml -> the kind of its backbone; rows beside them are of the control's."""
        found = {name: arm.backbone or self.model.kind for name, arm in self.rows.items()}
        return found | dict.fromkeys(RESERVED, found[self.control])

    @property
    def bases(self) -> dict[str, str]:
        """Arm -> the arm without alignment on the same backbone, which its differences are taken to."""
        plain = {self.backbone_of[arm]: arm for arm in reversed(self.arms) if self.rows[arm].strategy == "none"}
        return {arm: plain[self.backbone_of[arm]] for arm in self.arms}

    @property
    def refreshes(self) -> dict[str, tuple[str, str] | None]:
        """Arm -> norm and denominator of the FoG-A by which it selects its layers anew while it trains; None where it does not.

        A training reads these of the probe's keys and no others, and only if it needs them.
        """
        fog_a = self.probes.fog_a
        return {name: None if arm.refresh == "frozen" else (fog_a.norm, fog_a.denominator) for name, arm in self.rows.items()}

    @property
    def sampling_points(self) -> dict[str, bool]:
        """Row of arms.yaml, or a row that a model makes beside them -> whether its steps of sampling are counted as points."""
        found = {name: arm.sampling_points for name, arm in self.rows.items()}
        return found | dict.fromkeys(RESERVED, found[self.control])

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> Experiment:
        package = (info.context or {}).get("package", PACKAGE)
        if slips := list(checks.slips(self, package)):
            raise Slips(slips)
        return self


def load(path: Path | str, package: Path = PACKAGE) -> Experiment:
    """Read and check an experiment with the arms.yaml and archives.yaml that lie beside it, and the file that it extends.

    Args:
        package: where the modules lie that the experiment names.

    Raises ParamsError that names the file, every offending key, its value and what is expected.
    """
    path = Path(path)
    data = read_params(path)
    for key, name in FILES.items():
        if key in data:
            raise ParamsError(f"{path}: key {key!r} belongs in {path.with_name(name)}")
        data[key] = read_yaml(path.with_name(name))
    try:
        return Experiment.model_validate(data, context={"package": package})
    except ValidationError as error:
        raise ParamsError("\n".join(_line(path, slip) for slip in _slips(error))) from None


def _slips(error: ValidationError) -> Iterator[Slip]:
    for item in error.errors():
        found, kind, raised = item["input"], item["type"], item.get("ctx", {}).get("error")
        if isinstance(raised, Slips):
            yield from raised.slips
            continue
        message = WORDS.get(kind, item["msg"].removeprefix("Value error, "))
        if kind in ("float_type", "int_type") and isinstance(found, str):
            message += "; YAML takes this for text: leave out quotes, and write an exponent after a dot, as in 2.0e-3"
        yield Slip(tuple(part for part in item["loc"] if part != "[key]"), message, found)


def _line(path: Path, slip: Slip) -> str:
    file, key = path, slip.key
    if key and key[0] in FILES:
        file, key = path.with_name(FILES[str(key[0])]), key[1:]
    else:
        file = source_of(path, key)
    value = "" if isinstance(slip.found, dict | Strict) else f" (found {slip.found!r})"
    return f"{file}: {'.'.join(map(str, key)) or '(whole file)'}: {slip.message}{value}"
