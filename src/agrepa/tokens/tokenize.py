"""The tokenize stage: frame-level teacher features -> token ids of every clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from agrepa.artifacts import Features, write_features
from agrepa.corpora import manifest as manifests
from agrepa.tokens.codebook import Codebook
from agrepa.tokens.sequence import at_rate, primary_ids

if TYPE_CHECKING:
    from agrepa.params import Experiment, Tokens


class Tokenizer:
    """Codes of clips from stored or fresh features.

    Args:
        tokens: the streams' settings.
        codebooks: stream name -> codebook.
    """

    def __init__(self, tokens: Tokens, codebooks: dict[str, Codebook]) -> None:
        self.tokens, self.codebooks = tokens, codebooks

    def primary(self, frames: np.ndarray, domain: str) -> np.ndarray:
        """Primary ids ``[N]`` of a clip from its domain's frames ``[N, D]``."""
        return primary_ids(self.codebooks[domain].encode(frames), domain, self.tokens)

    def streams(self, frames: np.ndarray, rate: float, second: np.ndarray, second_rate: float, domain: str) -> np.ndarray:
        """All streams ``[N, S]`` of a clip; the second one is brought to the primary's rate."""
        primary = self.primary(frames, domain)
        if self.tokens.config == "A":
            return primary[:, None]
        codes = self.codebooks["second"].encode(second)
        return np.stack([primary, at_rate(codes, second_rate, len(primary), rate)], 1)


def run(
    p: Experiment,
    shard: str,
    manifest: Path,
    whisper: list[Path],
    yamnet: list[Path],
    speech: Path,
    audio: Path,
    second: Path,
    out: Path,
) -> None:
    """Tokenize one shard of the manifest: output "tokens", int32 ``[N, S]``, at the primary stream's rate."""
    tokenizer = Tokenizer(
        p.tokens, {name: Codebook.load(path) for name, path in (("speech", speech), ("audio", audio), ("second", second))}
    )
    shards = {"whisper": whisper, "yamnet": yamnet}
    stores = {name: Features(shards[(s := getattr(p.tokens, name)).encoder], s.output) for name in ("speech", "audio", "second")}

    def tokenized() -> Iterator[tuple[str, str, torch.Tensor, float]]:
        for row in manifests.shard(manifests.read(manifest), int(shard), p.shards).itertuples():
            store, other = stores[row.domain], stores["second"]
            rate = store.rate[row.id]
            ids = tokenizer.streams(store[row.id].numpy(), rate, other[row.id].numpy(), other.rate[row.id], row.domain)
            yield row.id, "tokens", torch.from_numpy(ids.astype(np.int32)), rate

    write_features(out, tokenized())
