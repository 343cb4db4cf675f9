"""The tokenize stage: frame-level teacher features -> token ids of every clip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from agrepa.artifacts.features import FeatureStore, write_shard
from agrepa.corpora import manifest as manifests
from agrepa.job import In, Ins, Out, Wildcard
from agrepa.tokens import sequence
from agrepa.tokens.codebook import Codebook, by_stream

if TYPE_CHECKING:
    from agrepa.params.stages import TokenizeSettings
    from agrepa.params.tokens import Tokens


class Tokenizer:
    """Codes of clips from stored or fresh features.

    Args:
        tokens: the streams' settings.
        codebooks: stream name -> codebook; the second stream's is needed by ``second`` alone.
    """

    def __init__(self, tokens: Tokens, codebooks: dict[str, Codebook]) -> None:
        self.tokens, self.codebooks = tokens, codebooks

    def primary(self, frames: np.ndarray, domain: str) -> np.ndarray:
        """Primary ids ``[N]`` of a clip from its domain's frames ``[N, D]``."""
        return sequence.primary_ids(self.codebooks[domain].encode(frames), domain, self.tokens)

    def second(self, frames: np.ndarray, rate: float, length: int, primary_rate: float) -> np.ndarray:
        """Ids of the second stream ``[N]`` from its frames ``[M, D]`` at ``rate``, brought to the primary's length and rate."""
        return sequence.at_rate(self.codebooks["second"].encode(frames), rate, length, primary_rate)


def run(p: TokenizeSettings, *, shard: Wildcard, manifest: In, codebooks: Ins, features: Ins, out: Out) -> None:
    """Tokenize one shard of the manifest: output "tokens", int32 ``[N, S]``, at the primary stream's rate."""
    names = sequence.codebooks(p.tokens)
    tokenizer = Tokenizer(p.tokens, by_stream(codebooks, names))
    store = FeatureStore(features)
    streams = {name: getattr(p.tokens, name) for name in names}
    frames = {name: store.feature(stream.encoder, stream.output) for name, stream in streams.items()}

    def tokenized() -> Iterator[tuple[str, str, torch.Tensor, float]]:
        for row in manifests.shard(manifests.read(manifest), int(shard), p.shards).itertuples():
            clip, primary = row.id, frames[row.domain]
            rate = primary.rate[clip]
            ids = [tokenizer.primary(primary[clip].numpy(), row.domain)]
            if "second" in frames:
                other = frames["second"]
                ids.append(tokenizer.second(other[clip].numpy(), other.rate[clip], len(ids[0]), rate))
            yield clip, "tokens", torch.from_numpy(np.stack(ids, 1).astype(np.int32)), rate

    write_shard(out, "tokens", tokenized())
