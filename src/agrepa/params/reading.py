"""Params files as text: YAML in which a key stands once, and files that change some keys of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from agrepa.errors import ParamsError

if TYPE_CHECKING:
    from agrepa.params.base import Key

EXTENDS = "extends"


class Loader(yaml.SafeLoader):
    """Safe YAML in which a mapping has each key once; plain YAML lets the last one win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises ParamsError when the file is missing, is not YAML, is not a mapping, or has a key twice.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such params file") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise ParamsError(f"{path}: expected a mapping of keys, found {type(data).__name__}")
    return data


def read_params(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A params file, its keys over those of the file beside it that it names at ``extends``, mapping by mapping.

    Args:
        above: the files that extend this one.

    Raises ParamsError as ``read_yaml`` does, and when ``extends`` is no file's name or leads back to a file.
    """
    data = read_yaml(path)
    base = data.pop(EXTENDS, None)
    if base is None:
        return data
    if not isinstance(base, str) or Path(base).name != base:
        raise ParamsError(f"{path}: {EXTENDS}: must be the name of a params file beside it (found {base!r})")
    if path.with_name(base) in (*above, path):
        raise ParamsError(f"{path}: {EXTENDS}: {base} extends this file in turn: remove one of the two")
    return _merged(read_params(path.with_name(base), (*above, path)), data)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _merged(found[key], value) if both else value
    return found


def source_of(path: Path, key: Key) -> Path:
    """The file that states a key: this one, or the nearest that it extends; the last of them where none does."""
    value: Any = (data := read_yaml(path))
    for part in key:
        if not isinstance(value, dict):
            return path
        if part not in value:
            return source_of(path.with_name(data[EXTENDS]), key) if EXTENDS in data else path
        value = value[part]
    return path
