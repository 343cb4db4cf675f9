"""Token sequences: one vocabulary for both domains, and Config A (one stream) or B (two interleaved streams).

A clip's tokens are ``[N, S]`` at the primary stream's rate: column 0 are primary tokens, column 1 those of the second stream. The
ids of a column are speech codes 0 … V_s - 1, then audio codes V_s … V_s + V_a - 1. Padding is -1 and never a valid id, so id 0 is
a token like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agrepa.domains import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agrepa.params.tokens import Tokens

PAD = -1


def table_streams(tokens: Tokens, domains: Sequence[str] = DOMAINS) -> list[list[str]]:
    """For each column of the tokens, the streams whose codes make up its ids, in id order.

    ``[[speech, audio]]`` in Config A; in Config B also ``[second_speech, second_audio]``.

    Args:
        domains: those that the experiment has; the streams of another are left out.
    """
    tables = [[*domains], [f"second_{domain}" for domain in domains]]
    return tables[:1] if tokens.config == "A" else tables


def streams(tokens: Tokens, domains: Sequence[str] = DOMAINS) -> list[str]:
    """Names of all streams of the configuration; each has a codebook."""
    return [stream for table in table_streams(tokens, domains) for stream in table]


def vocabularies(tokens: Tokens, domains: Sequence[str] = DOMAINS) -> list[int]:
    """How many ids each column has: ``[primary]`` (Config A) or ``[primary, second]`` (Config B)."""
    return [sum(getattr(tokens, stream).vocabulary for stream in table) for table in table_streams(tokens, domains)]


def ids(codes: np.ndarray, stream: str, tokens: Tokens, domains: Sequence[str] = DOMAINS) -> np.ndarray:
    """Codes of a stream's codebook ``[N]`` -> ids of the column that the stream is in."""
    table = next(table for table in table_streams(tokens, domains) if stream in table)
    return codes + sum(getattr(tokens, before).vocabulary for before in table[: table.index(stream)])


def at_rate(codes: np.ndarray, rate: float, first: float, length: int, wanted_rate: float, wanted_first: float) -> np.ndarray:
    """Codes ``[N]`` -> ``[length]`` at another rate: for each wanted token the code whose centre is nearest to its own.

    Args:
        rate, wanted_rate: per second.
        first, wanted_first: where the centre of the first one lies, in seconds; of two codes as near, the later is taken.
    """
    place = (np.arange(length) / wanted_rate + (wanted_first - first)) * rate
    return codes[np.floor(place + 0.5 + 1e-6).astype(np.int64).clip(0, len(codes) - 1)]


def bits_per_second(codes: np.ndarray, rate: float, vocabulary: int) -> tuple[float, float]:
    """(bits per second that a stream has room for, rate log2 V; those of its codes drawn one by one, their entropy).

    Args:
        codes: ``[N]`` of any number of clips; none have no entropy.
    """
    part = np.bincount(codes, minlength=vocabulary) / max(len(codes), 1)
    used = part[part > 0]
    return rate * float(np.log2(vocabulary)), rate * float(-(used * np.log2(used)).sum() + 0.0)


def usage(codes: np.ndarray, vocabulary: int) -> tuple[float, float]:
    """(perplexity of single codes, 2 to their entropy in bits; share of the codes that occur) of codes ``[N]``."""
    _, bits = bits_per_second(codes, 1.0, vocabulary)
    return 2.0**bits, len(np.unique(codes)) / vocabulary


def interleave(columns: np.ndarray) -> np.ndarray:
    """``[N, S]`` -> the sequence s = [t1, b1, t2, b2, …] of Eq. 15, ``[N S]``."""
    return columns.reshape(-1)


def separate(sequence: np.ndarray, columns: int) -> np.ndarray:
    """Inverse of ``interleave``."""
    return sequence.reshape(-1, columns)


def without_repeats(ids: np.ndarray) -> np.ndarray:
    """Runs of one id become a single id, as units are compared."""
    return ids[np.concatenate([[True], ids[1:] != ids[:-1]])] if len(ids) else ids
