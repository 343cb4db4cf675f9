"""Files that stages hand to each other: JSON, parquet and safetensors, and their content hash. Nothing here unpickles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from agrepa.errors import ArtifactError


def sha256(path: Path) -> str:
    """Hex digest of a file, or of a directory's sorted (name, digest) pairs; hidden files are bookkeeping of the engines."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")):
            digest.update(f"{file.relative_to(path)}\0{sha256(file)}\n".encode())
    else:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, data: Any) -> None:
    """Write JSON with sorted keys, so that equal content means equal bytes. NaN is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON; ArtifactError names the file when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing: run the stage that writes it") from None
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{path} is not valid JSON ({error}): delete it and run its stage again") from None


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a parquet file whose bytes depend on the rows alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.reset_index(drop=True).to_parquet(path, index=False, compression="zstd")


def read_table(path: Path) -> pd.DataFrame:
    """Read a parquet file; ArtifactError names the file when it is missing or damaged."""
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing: run the stage that writes it") from None
    except OSError as error:
        raise ArtifactError(f"{path} is not a readable parquet file ({error}): delete it and run its stage again") from None


def save_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write named tensors as safetensors."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def load_tensors(path: Path) -> dict[str, Any]:
    """Read named tensors; ArtifactError names the file when it is missing or damaged."""
    from safetensors.torch import load_file

    if not path.exists():
        raise ArtifactError(f"{path} is missing: run the stage that writes it")
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own type, which differs between versions
        raise ArtifactError(f"{path} is not a readable safetensors file ({error}): delete it and run its stage again") from None
