"""Files that stages hand to each other: JSON, parquet and sharded features, each with a content hash.

A feature shard is two files: ``NAME.safetensors`` with one tensor per clip id, and ``NAME.parquet`` with its index
(columns clip, output, shard, frames, rate). Nothing here unpickles anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
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


def write_features(path: Path, features: Iterable[tuple[str, str, Any, float]]) -> None:
    """Write one shard.

    Args:
        path: ``….safetensors``; the index goes beside it with the suffix ``.parquet``.
        features: (clip id, output name, tensor ``[T, ...]``, frames per second; 0 where there is no time axis).
    """
    from safetensors.torch import save_file

    tensors, index = {}, []
    for clip, output, tensor, rate in features:
        tensors[f"{clip}/{output}"] = tensor.contiguous()
        index.append((clip, output, path.stem, tensor.shape[0], float(rate)))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    write_table(path.with_suffix(".parquet"), pd.DataFrame(index, columns=["clip", "output", "shard", "frames", "rate"]))


class Features:
    """Read-only view over the shards of one feature: ``features[clip]`` is the clip's tensor.

    Args:
        shards: the ``.safetensors`` files.
        output: which of the outputs in them, e.g. ``last``.
    """

    def __init__(self, shards: Iterable[Path], output: str) -> None:
        from safetensors import safe_open

        self.output = output
        self._files = {}
        self._where: dict[str, str] = {}
        self.frames: dict[str, int] = {}
        self.rate: dict[str, float] = {}
        for shard in shards:
            index = read_table(shard.with_suffix(".parquet"))
            index = index[index.output == output]
            try:
                self._files[str(shard)] = safe_open(shard, framework="pt")
            except Exception as error:  # safetensors raises its own type, which differs between versions
                raise ArtifactError(
                    f"{shard} is not a readable safetensors file ({error}): delete it and run its stage again"
                ) from None
            for row in index.itertuples():
                self._where[row.clip] = str(shard)
                self.frames[row.clip], self.rate[row.clip] = int(row.frames), float(row.rate)

    def __contains__(self, clip: str) -> bool:
        return clip in self._where

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, clip: str) -> Any:
        """The clip's tensor as stored, ``[T, ...]``; ArtifactError when no shard has it."""
        if clip not in self._where:
            raise ArtifactError(f"no {self.output!r} feature for clip {clip!r} in {', '.join(self._files) or 'no shards'}")
        return self._files[self._where[clip]].get_tensor(f"{clip}/{self.output}")


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
