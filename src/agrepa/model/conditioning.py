"""What the velocity is conditioned on: tokens on their own time axis, a reference prefix, and the time t."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Condition:
    """Condition of a batch.

    Attributes:
        tokens: ids ``[B, N, S]``, one column a stream; padding is -1, which is no valid id.
        positions: where each mel frame lies on its clip's token axis, in tokens, ``[B, T]`` float.
        reference: clean normalised mel of a prefix, zeros elsewhere, ``[B, T, M]``.
        dropped: True for clips whose tokens are dropped (unconditional branch of guidance), ``[B]``; the reference is not.
    """

    tokens: Tensor
    positions: Tensor
    reference: Tensor
    dropped: Tensor

    def without_tokens(self) -> Condition:
        """The same batch with every clip's tokens dropped; references stay."""
        return Condition(self.tokens, self.positions, self.reference, torch.ones_like(self.dropped))

    def to(self, device: torch.device) -> Condition:
        """The same condition on another device."""
        return Condition(*(value.to(device) for value in (self.tokens, self.positions, self.reference, self.dropped)))


def frame_positions(
    frames: int,
    frame_rate: float,
    tokens: int,
    token_rate: float,
    first: float | None = None,
    frame_first: float | None = None,
) -> Tensor:
    """Position on the token axis of the centre of each mel frame, ``[frames]``.

    Token i is centred on first + i / token_rate seconds, mel frame j on frame_first + j / frame_rate; None is half a token and
    half a frame. Positions beyond the first and last token centres are held.
    """
    start = 0.5 / token_rate if first is None else first
    frame_start = 0.5 / frame_rate if frame_first is None else frame_first
    seconds = torch.arange(frames, dtype=torch.float64) / frame_rate + (frame_start - start)
    return (seconds * token_rate).clamp(0, tokens - 1).float()


def at_positions(values: Tensor, positions: Tensor) -> Tensor:
    """Values ``[B, N, D]`` at fractional positions in [0, N - 1], ``[B, T]``, by linear interpolation: ``[B, T, D]``."""
    low = positions.floor().long()
    high = (low + 1).clamp(max=values.shape[1] - 1)
    part = (positions - low).unsqueeze(-1).to(values.dtype)

    def at(index: Tensor) -> Tensor:
        return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))

    return (1 - part) * at(low) + part * at(high)


class TokenEmbedding(nn.Module):
    """Embed S token streams, concatenate, project, and interpolate linearly to mel frames (Eq. 15 for S = 2).

    The streams are the columns of the interleaved sequence [t1, b1, t2, b2, ...]. Each table has one row more than its
    vocabulary: the null token that stands for dropped tokens and for padding.
    """

    def __init__(self, vocabularies: list[int], token_width: int, width: int) -> None:
        super().__init__()
        tables = [nn.Embedding(size + 1, token_width) for size in vocabularies]
        for table in tables:
            nn.init.normal_(table.weight, std=1.0 / math.sqrt(token_width))
        self.nulls = list(vocabularies)
        self.tables = nn.ModuleList(tables)
        self.project = nn.Linear(token_width * len(vocabularies), width)

    @torch.no_grad()
    def start(self, rows: list[Tensor]) -> None:
        """Let the tables begin as ``rows``, ``[V, token_width]`` for each stream, and their null rows as zeros."""
        for table, start in zip(self.tables, rows, strict=True):
            assert isinstance(table, nn.Embedding)
            table.weight.copy_(torch.cat([start, start.new_zeros(1, start.shape[1])]))

    def forward(self, condition: Condition) -> Tensor:
        """The token interface (layer 0) at mel frames, ``[B, T, D]``."""
        columns = []
        for stream, table in enumerate(self.tables):
            ids = condition.tokens[..., stream]
            ids = torch.where((ids < 0) | condition.dropped[:, None], self.nulls[stream], ids)
            columns.append(table(ids))
        return at_positions(self.project(torch.cat(columns, -1)), condition.positions)


def sinusoid(values: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """Sinusoidal features of ``values``: ``[..., width]``, half sines and half cosines of geometric frequencies."""
    half = width // 2
    frequency = torch.exp(-math.log(longest) * torch.arange(half, device=values.device) / half)
    angle = values.float().unsqueeze(-1) * frequency
    return torch.cat([angle.sin(), angle.cos()], -1)


class TimeEmbedding(nn.Module):
    """t in [0, 1] -> ``[B, D]``: sinusoids of 1000 t through a two-layer MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(sinusoid(1000 * t, self.width))
