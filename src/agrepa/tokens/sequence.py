"""Token sequences: one vocabulary for both domains, and Config A (one stream) or B (two interleaved streams).

A clip's tokens are ``[N, S]`` at the primary stream's rate. Primary ids: speech codes 0 … V_s - 1, then audio codes
V_s … V_s + V_a - 1. Padding is -1 and never a valid id, so id 0 is a token like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agrepa.domains import DOMAINS

if TYPE_CHECKING:
    from agrepa.params.tokens import Tokens

PAD = -1


def codebooks(tokens: Tokens) -> list[str]:
    """Names of the streams that are tokenised: one a domain, which make up the primary, and ``second`` in Config B."""
    return [*DOMAINS] if tokens.config == "A" else [*DOMAINS, "second"]


def table_streams(tokens: Tokens) -> list[list[str]]:
    """For each column of the tokens, the streams whose codes make up its ids, in id order."""
    return [[*DOMAINS]] if tokens.config == "A" else [[*DOMAINS], ["second"]]


def vocabularies(tokens: Tokens) -> list[int]:
    """Size of each stream's vocabulary: ``[primary]`` (Config A) or ``[primary, second]`` (Config B)."""
    primary = tokens.speech.vocabulary + tokens.audio.vocabulary
    return [primary] if tokens.config == "A" else [primary, tokens.second.vocabulary]


def primary_ids(codes: np.ndarray, domain: str, tokens: Tokens) -> np.ndarray:
    """Codes of a domain's codebook ``[N]`` -> ids of the shared primary vocabulary."""
    return codes + (tokens.speech.vocabulary if domain == "audio" else 0)


def at_rate(codes: np.ndarray, rate: float, length: int, wanted_rate: float) -> np.ndarray:
    """Codes ``[N]`` at ``rate`` -> ``[length]`` at ``wanted_rate``: the code in force at the centre of each wanted token."""
    index = np.floor((np.arange(length) + 0.5) * (rate / wanted_rate)).astype(np.int64)
    return codes[np.minimum(index, len(codes) - 1)]


def interleave(streams: np.ndarray) -> np.ndarray:
    """``[N, S]`` -> the sequence s = [t1, b1, t2, b2, …] of Eq. 15, ``[N S]``."""
    return streams.reshape(-1)


def separate(sequence: np.ndarray, streams: int) -> np.ndarray:
    """Inverse of ``interleave``."""
    return sequence.reshape(-1, streams)


def without_repeats(ids: np.ndarray) -> np.ndarray:
    """Runs of one id become a single id, as units are compared."""
    return ids[np.concatenate([[True], ids[1:] != ids[:-1]])] if len(ids) else ids
