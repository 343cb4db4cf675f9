"""The feature store: what the front end, the frozen networks and the tokenizer keep of every clip, by (encoder, output).

A shard is one safetensors file with a tensor for every clip and output; its header says whose features they are, at which rates,
and where in the clip the first frames' centres lie. An index is one parquet file over any number of shards, with their SHA-256
and sizes, so that a stage takes one path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from agrepa.artifacts.files import read_table, sha256, write_table
from agrepa.errors import ArtifactError
from agrepa.job import Ins, Out, Wildcard

if TYPE_CHECKING:
    from torch import Tensor

    from agrepa.params.stages import Settings

COLUMNS = {"encoder": "str", "output": "str", "clip": "str", "frames": "int64"}
COLUMNS |= {"rate": "float64", "first": "float64", "shard": "str"}
FILE_COLUMNS = {"sha256": "str", "bytes": "int64"}
# All in one entry of the header: safetensors writes several in an order that changes from run to run.
HEADER = "features"


class Stored(NamedTuple):
    """One feature of one clip.

    Attributes:
        tensor: ``[T, ...]``.
        rate: frames per second; 0 where the first axis is not time.
        first: seconds from the clip's start to the centre of the first frame; None is half a frame.
    """

    clip: str
    output: str
    tensor: Tensor
    rate: float
    first: float | None = None


def write_shard(path: Path, encoder: str, features: Iterable[Stored]) -> None:
    """Write one shard, which may be empty.

    Args:
        encoder: the name under which the store has them, e.g. ``mel``.
        features: in any order.
    """
    from safetensors.torch import save_file

    tensors, rates, firsts = {}, {}, {}
    for feature in features:
        clip, output, tensor, rate, first = Stored(*feature)
        name = f"{clip}/{output}"
        tensors[name], rates[name] = tensor.contiguous(), float(rate)
        firsts[name] = (0.5 / rate if rate else 0.0) if first is None else float(first)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"encoder": encoder, "rates": rates, "firsts": firsts}
    save_file(tensors, path, metadata={HEADER: json.dumps(about, sort_keys=True)})


def index(p: Settings, *, store: Wildcard, shards: Ins, out: Out) -> None:
    """List the features of all shards of a store in one file.

    Writes a row per clip and output: encoder, output, clip, frames (length of the first axis), rate, first, and of the shard its
    path as given, sha256 and bytes.

    Raises ArtifactError when a shard is missing, damaged or no shard of features.
    """
    tables = [_contents(shard).assign(sha256=sha256(shard), bytes=shard.stat().st_size) for shard in shards]
    columns = COLUMNS | FILE_COLUMNS
    write_table(out, pd.concat([pd.DataFrame(columns=list(columns)), *tables]).astype(columns))


class Feature:
    """One output of one encoder, read-only: ``feature[clip]`` is the clip's tensor.

    Attributes:
        frames: length of the first axis by clip.
        rate: frames per second by clip; 0 where the first axis is not time.
        first: seconds from the clip's start to the centre of its first frame, by clip; 0 where the first axis is not time.

    Raises ArtifactError when a shard is missing or has not the size that the index states, or a clip is there twice.
    """

    def __init__(self, encoder: str, output: str, rows: pd.DataFrame) -> None:
        self.encoder, self.output = encoder, output
        clips = rows["clip"].tolist()
        if twice := rows["clip"][rows["clip"].duplicated()].tolist():
            raise ArtifactError(f"{self}: clip {twice[0]!r} is in more than one shard: give each index once")
        self._shard = dict(zip(clips, rows["shard"].tolist(), strict=True))
        self._files: dict[str, Any] = {}
        self.frames: dict[str, int] = dict(zip(clips, rows["frames"].tolist(), strict=True))
        self.rate: dict[str, float] = dict(zip(clips, rows["rate"].tolist(), strict=True))
        self.first: dict[str, float] = dict(zip(clips, rows["first"].tolist(), strict=True))
        for shard, stated in rows.groupby("shard", sort=False)["bytes"].first().items():
            path = Path(str(shard))
            found = path.stat().st_size if path.is_file() else None
            if found != stated:
                has = "is missing" if found is None else f"has {found} bytes and its index says {stated}"
                raise ArtifactError(f"{path} {has}: run the stage that writes it, and then its index, again")

    @classmethod
    def of_shard(cls, path: Path, output: str) -> Feature:
        """The same over one shard without an index; ArtifactError also when a shard that is not empty lacks the output."""
        rows = _contents(path)
        chosen = rows[rows["output"] == output].assign(bytes=path.stat().st_size)
        encoders = rows["encoder"].unique().tolist()
        if len(rows) and not len(chosen):
            raise ArtifactError(f"{path} has no output {output!r} of {encoders[0]}: it has {_names(rows['output'])}")
        return cls(str(encoders[0]) if encoders else "nothing", output, chosen)

    def __str__(self) -> str:
        return f"{self.encoder}/{self.output}"

    def __contains__(self, clip: str) -> bool:
        return clip in self._shard

    def __len__(self) -> int:
        return len(self._shard)

    def __getitem__(self, clip: str) -> Tensor:
        """The clip's tensor as stored, ``[T, ...]``; ArtifactError when no shard has it."""
        if clip not in self._shard:
            raise ArtifactError(f"{self}: there is no feature for clip {clip!r} among {len(self)}: run the stage that writes it")
        shard = self._shard[clip]
        if shard not in self._files:
            self._files[shard] = _open(Path(shard))
        return self._files[shard].get_tensor(f"{clip}/{self.output}")


class FeatureStore:
    """All features of some indexes; ArtifactError when one is missing, damaged or no index of features."""

    def __init__(self, indexes: Iterable[Path]) -> None:
        self.indexes = list(indexes)
        tables = []
        for path in self.indexes:
            table = read_table(path)
            if missing := [column for column in COLUMNS | FILE_COLUMNS if column not in table]:
                raise ArtifactError(f"{path} is no index of features, it has no column {', '.join(missing)}: run index again")
            tables.append(table)
        table = pd.concat([pd.DataFrame(columns=list(COLUMNS | FILE_COLUMNS)), *tables])
        self._rows: dict[Any, pd.DataFrame] = dict(iter(table.groupby(["encoder", "output"])))

    def feature(self, encoder: str, output: str) -> Feature:
        """One output of one encoder; ArtifactError that names what there is when it is not among it."""
        if (encoder, output) not in self._rows:
            known = ", ".join(f"{name}/{kept}" for name, kept in self._rows) or "nothing"
            raise ArtifactError(
                f"there is no feature {encoder}/{output} in {', '.join(map(str, self.indexes)) or 'no index'}, only {known}: "
                f"keep it in the params (encoders.{encoder}) and run its stages"
            )
        return Feature(encoder, output, self._rows[encoder, output])


def _contents(shard: Path) -> pd.DataFrame:
    """The COLUMNS of one shard, from its header alone."""
    file = _open(shard)
    try:
        about = json.loads(file.metadata()[HEADER])
        encoder, rates, firsts = about["encoder"], about["rates"], about["firsts"]
    except (TypeError, KeyError, ValueError):
        raise ArtifactError(f"{shard} is no shard of features: delete it and run its stage again") from None
    rows = []
    for name, rate in rates.items():
        clip, _, output = name.partition("/")
        rows.append((encoder, output, clip, file.get_slice(name).get_shape()[0], rate, firsts[name], str(shard)))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _open(shard: Path) -> Any:
    from safetensors import safe_open

    try:
        return safe_open(shard, framework="pt")
    except FileNotFoundError:
        raise ArtifactError(f"{shard} is missing: run the stage that writes it") from None
    except Exception as error:  # safetensors raises its own type, which differs between versions
        raise ArtifactError(f"{shard} is not a readable safetensors file ({error}): delete it and run its stage again") from None


def _names(column: pd.Series) -> str:
    return ", ".join(sorted(column.unique()))
