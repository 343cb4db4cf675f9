"""The tokenize stage: frame-level teacher features -> token ids of every clip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from agrepa.artifacts.features import FeatureStore, Stored, write_shard
from agrepa.corpora import manifest as manifests
from agrepa.domains import DOMAINS
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
        codebooks: stream -> codebook, of the streams that are asked for and of those that a residual one is left by.
        domains: those that the experiment has.
    """

    def __init__(self, tokens: Tokens, codebooks: dict[str, Codebook], domains: Sequence[str] = DOMAINS) -> None:
        self.tokens, self.codebooks, self.domains = tokens, codebooks, domains

    def codes(self, frames: np.ndarray, stream: str) -> np.ndarray:
        """Codes ``[N]`` of a stream from its frames ``[N, D]``."""
        primary = getattr(self.tokens, stream).residual_of
        return self.codebooks[stream].encode(self.codebooks[primary].residual(frames) if primary else frames)

    def primary(self, frames: np.ndarray, domain: str) -> np.ndarray:
        """Primary ids ``[N]`` of a clip from its domain's frames ``[N, D]``."""
        return sequence.ids(self.codes(frames, domain), domain, self.tokens, self.domains)


def run(p: TokenizeSettings, *, shard: Wildcard, manifest: In, codebooks: Ins, features: Ins, out: Out) -> None:
    """Tokenize one shard of the manifest: output "tokens", int32 ``[N, S]``, at the primary stream's rate."""
    names = sequence.streams(p.tokens, p.domains)
    tokenizer = Tokenizer(p.tokens, by_stream(codebooks, names), p.domains)
    store = FeatureStore(features)
    settings = {name: getattr(p.tokens, name) for name in names}
    frames = {name: store.feature(stream.encoder, stream.output) for name, stream in settings.items()}
    spoken: dict[str, list[np.ndarray]] = defaultdict(list)

    def tokenized() -> Iterator[Stored]:
        for row in manifests.shard(manifests.read(manifest), int(shard), p.shards).itertuples():
            clip, primary, columns = row.id, frames[row.domain], []
            for table in sequence.table_streams(p.tokens, p.domains):
                name = table[p.domains.index(row.domain)]
                of = frames[name]
                codes = tokenizer.codes(of[clip].numpy(), name)
                spoken[name].append(codes)
                placed = (of.rate[clip], of.first[clip], primary.frames[clip], primary.rate[clip], primary.first[clip])
                columns.append(sequence.ids(sequence.at_rate(codes, *placed), name, p.tokens, p.domains))
            ids = torch.from_numpy(np.stack(columns, 1).astype(np.int32))
            yield Stored(clip, "tokens", ids, primary.rate[clip], primary.first[clip])

    write_shard(out, "tokens", tokenized())
    rates = {name: next(iter(of.rate.values())) for name, of in frames.items()}
    for domain in p.domains:
        codes = {name: (np.concatenate(parts), rates[name]) for name, parts in spoken.items() if name.endswith(domain)}
        print(bits(domain, codes, p.tokens))


def bits(domain: str, codes: dict[str, tuple[np.ndarray, float]], tokens: Tokens) -> str:
    """What a domain's tokens carry, in bits per second.

    Args:
        codes: stream -> its codes ``[N]`` of any number of clips, and their rate.
    """
    found = {name: sequence.bits_per_second(*spoken, getattr(tokens, name).vocabulary) for name, spoken in codes.items()}
    room, used = (sum(values) for values in zip(*found.values(), strict=True)) if found else (0.0, 0.0)
    parts = ", ".join(f"{name} {rate:g}/s x {getattr(tokens, name).vocabulary} codes" for name, (_, rate) in codes.items())
    return f"{domain}: {used:.0f} bits per second of {room:.0f} (entropy of single codes; {parts or 'no clips'})"
