"""What the schema is made of: the strict base model, kinds of numbers and lists, slips, and which modules the package has.

Unknown keys, infinities, and truth values or text in place of numbers are errors everywhere.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

PACKAGE = Path(__file__).resolve().parents[1]

T = TypeVar("T")
Items = TypeVar("Items", bound=Sequence[Any])


def without_repeats(items: Items) -> Items:
    """The same items; ValueError when one is there more than once."""
    for item in items:
        if items.count(item) > 1:
            raise ValueError(f"has {item!r} more than once: name each once")
    return items


def is_none(value: Any) -> bool:
    """For ``exclude_if``: a key that is not set is no part of what a job reads, so that a new one re-runs nothing."""
    return value is None


Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(ge=0, lt=1)]
Inside = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Nonnegative = Annotated[float, Field(ge=0)]
NAME = r"^[a-z][a-z0-9_]*$"
Name = Annotated[str, Field(pattern=NAME)]
Text = Annotated[str, Field(min_length=1)]
Domain = Literal["speech", "audio"]
Domains = tuple[Domain, ...]
Evaluated = Literal["validation", "test"]
Distinct = Annotated[list[T], AfterValidator(without_repeats)]
Filled = Annotated[list[T], Field(min_length=1), AfterValidator(without_repeats)]


class Strict(BaseModel):
    """Base of the schema: no unknown keys, no infinities, no conversions, and nothing is changed once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Slip:
    """Something wrong: where (keys from the top), what and how to put it right, and the value that is there."""

    key: Key
    message: str
    found: Any


class Slips(ValueError):
    """All that is wrong with an experiment whose rooms are right by themselves."""

    def __init__(self, slips: list[Slip]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, slip.key))}: {slip.message}" for slip in slips))
        self.slips = slips


def kinds(folder: str, function: str | None = None, package: Path = PACKAGE) -> list[str]:
    """Names of the modules in a folder of the package that define ``function`` at their top level, without importing any.

    Args:
        folder: e.g. ``"alignment/heads"``; one that does not exist has no modules.
        function: None takes every module.
        package: where the package lies.
    """
    modules = {path.stem: path for path in (package / folder).glob("*.py") if path.stem != "__init__"}
    modules |= {path.parent.name: path for path in (package / folder).glob("*/__init__.py")}
    pattern = re.compile("" if function is None else rf"^def {function}\(", re.MULTILINE)
    return sorted(name for name, path in modules.items() if pattern.search(path.read_text(encoding="utf-8")))


def stated(folder: str, module: str, constant: str, package: Path = PACKAGE) -> Any:
    """The value that a module gives a constant as a literal, read without importing it; None when it states none."""
    path = package / folder / f"{module}.py"
    if not path.exists():
        path = package / folder / module / "__init__.py"
    for line in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == constant for target in targets):
            try:
                return ast.literal_eval(line.value)  # type: ignore[attr-defined]
            except (ValueError, TypeError):
                return None
    return None
