"""Token tables that start as what the tokens stand for: the centres of their codebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from agrepa.domains import DOMAINS
from agrepa.tokens.codebook import by_stream
from agrepa.tokens.sequence import table_streams

if TYPE_CHECKING:
    from agrepa.params.tokens import Tokens


def rows(centres: np.ndarray, width: int) -> np.ndarray:
    """Centres ``[V, D]`` in ``width`` columns: as they are, with zeros behind them, or by their first principal components.

    One factor brings the mean square of what is kept to 1, so that codebooks of any width and residual begin alike.
    """
    if centres.shape[1] > width:
        kept = min(width, len(centres))
        centres = PCA(kept, svd_solver="full").fit_transform(centres.astype(np.float64))
    size = np.sqrt(np.square(centres, dtype=np.float64).mean())
    return np.pad(centres / max(size, 1e-12), ((0, 0), (0, width - centres.shape[1]))).astype(np.float32)


def tables(codebooks: Iterable[Path], tokens: Tokens, width: int, domains: Sequence[str] = DOMAINS) -> list[Tensor]:
    """For each column of the tokens the rows of its table, ``[V, width]``, in the order of the ids.

    Raises ArtifactError when a stream's codebook is not among the files.
    """
    streams = table_streams(tokens, domains)
    books = by_stream(codebooks, [stream for table in streams for stream in table])
    return [torch.from_numpy(np.concatenate([rows(books[stream].centres, width) for stream in table])) for table in streams]
