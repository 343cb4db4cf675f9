"""Codebooks: k-means, or a learnt quantiser, over standardised teacher features of the training split, or over what another
codebook leaves of them; and the identity, for an encoder that gives codes itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.cluster.vq import vq
from sklearn.cluster import KMeans, kmeans_plusplus

from agrepa.artifacts.features import FeatureStore
from agrepa.artifacts.files import load_tensors
from agrepa.corpora import manifest as manifests
from agrepa.errors import ArtifactError
from agrepa.job import In, Ins, Out, Wildcard
from agrepa.tokens import vector_quantiser
from agrepa.tokens.sequence import usage

if TYPE_CHECKING:
    from agrepa.params.stages import CodebookSettings

START_FRAMES = 10_000  # all of 60,000 take four times as long and leave no smaller an error
PARTS = ("mean", "scale", "centres")


class Codebook:
    """Centres in a standardised feature space.

    Attributes:
        stream: the token stream that it is of, e.g. ``speech``.
        mean, scale: ``[D]``, of the frames it was fitted on; 0 and 1 for a residual one.
        centres: ``[V, D]`` in standardised units; a residual one's add to those of the codebook that left it.
    """

    def __init__(self, stream: str, mean: np.ndarray, scale: np.ndarray, centres: np.ndarray) -> None:
        self.stream, self.mean, self.scale, self.centres = stream, mean, scale, centres

    @classmethod
    def load(cls, path: Path) -> Codebook:
        """Raises ArtifactError when the file is missing, is damaged or is no codebook."""
        stored = load_tensors(path)
        with safe_open(path, framework="pt") as file:
            stream = (file.metadata() or {}).get("stream")
        if stream is None or not stored.keys() >= set(PARTS):
            raise ArtifactError(f"{path} is not a codebook: delete it and run its stage again")
        kind = cls if stored["centres"].shape[1] else GivenCodes
        return kind(stream, *(stored[name].numpy() for name in PARTS))

    def save(self, path: Path) -> None:
        """Write it, with the stream's name in the file's header."""
        save_file({name: torch.from_numpy(getattr(self, name)) for name in PARTS}, path, {"stream": self.stream})

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Nearest centre of each frame: ``[N, D]`` -> ``[N]`` int64."""
        codes, _ = vq(self._standard(frames), self.centres)
        return codes.astype(np.int64)

    def residual(self, frames: np.ndarray) -> np.ndarray:
        """What the nearest centres leave of standardised frames: ``[N, D]`` -> ``[N, D]`` float32."""
        return self._standard(frames) - self.centres[self.encode(frames)]

    def error(self, frames: np.ndarray) -> float:
        """Mean square of what is left, as a part of the frames' variance."""
        standard = self._standard(frames)
        return float(np.square(self.residual(frames), dtype=np.float64).mean() / standard.var(0, dtype=np.float64).mean())

    def _standard(self, frames: np.ndarray) -> np.ndarray:
        return (frames.astype(np.float32) - self.mean) / self.scale


class GivenCodes(Codebook):
    """The identity of so many codes: centres of no dimensions, which leave nothing and say nothing of the frames."""

    @classmethod
    def of(cls, stream: str, vocabulary: int) -> GivenCodes:
        nothing = np.zeros(0, np.float32)
        return cls(stream, nothing, nothing, np.zeros((vocabulary, 0), np.float32))

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """The codes themselves: ``[N, 1]`` -> ``[N]`` int64; ArtifactError when they are none or are not of the vocabulary."""
        if not np.issubdtype(frames.dtype, np.integer) or frames.ndim != 2 or frames.shape[1] != 1:
            raise ArtifactError(
                f"stream {self.stream} is given codes and got {frames.dtype} of shape {frames.shape}: name an output of codes"
            )
        codes = frames[:, 0].astype(np.int64)
        if len(codes) and not 0 <= codes.min() <= codes.max() < len(self.centres):
            raise ArtifactError(
                f"stream {self.stream} has {len(self.centres)} codes and got {codes.min()} to {codes.max()}: raise vocabulary"
            )
        return codes


def by_stream(paths: Iterable[Path], wanted: Iterable[str]) -> dict[str, Codebook]:
    """The codebooks of the ``wanted`` streams among files in any order.

    Raises ArtifactError when two are of one stream, or a wanted one is missing.
    """
    books: dict[str, Codebook] = {}
    for path in paths:
        book = Codebook.load(path)
        if book.stream in books:
            raise ArtifactError(f"{path}: a second codebook of stream {book.stream!r}: give one a stream")
        books[book.stream] = book
    if missing := [stream for stream in wanted if stream not in books]:
        raise ArtifactError(
            f"no codebook of stream {', '.join(missing)} among those given, which are of {', '.join(books) or 'none'}: "
            "run the codebook stage for it"
        )
    return {stream: books[stream] for stream in wanted}


def fit(
    stream: str, frames: np.ndarray, vocabulary: int, iterations: int, seed: int, standardise: bool = True, kind: str = "kmeans"
) -> Codebook:
    """A codebook of a kind: Lloyd's ``kmeans`` from a greedy k-means++ start (Arthur & Vassilvitskii 2007) on START_FRAMES of the
    frames, or ``vq``, see ``vector_quantiser``.

    Args:
        frames: ``[N, D]``.
        iterations: the most; of k-means fewer where nothing moves any more.
        standardise: by mean and deviation of each channel; False for what another codebook leaves, which is in its units already.

    Raises ArtifactError when there are fewer distinct frames than centres.
    """
    mean, scale = (frames.mean(0), frames.std(0) + 1e-6) if standardise else (np.zeros(frames.shape[1]), np.ones(frames.shape[1]))
    standard = ((frames - mean) / scale).astype(np.float32)
    pool = np.unique(standard, axis=0)
    if len(pool) < vocabulary:
        raise ArtifactError(
            f"a codebook of {vocabulary} needs as many distinct frames and the training split has {len(pool)}: lower vocabulary"
        )
    if kind == "vq":
        centres = vector_quantiser.centres(standard, vocabulary, iterations, seed)
        return Codebook(stream, *(values.astype(np.float32) for values in (mean, scale, centres)))
    part = np.random.default_rng(seed).permutation(len(pool))[: max(START_FRAMES, vocabulary)]
    start, _ = kmeans_plusplus(pool[np.sort(part)], vocabulary, random_state=seed)
    means = KMeans(vocabulary, init=start, n_init=1, max_iter=iterations, tol=0.0).fit(standard)
    return Codebook(stream, *(values.astype(np.float32) for values in (mean, scale, means.cluster_centers_)))


def run(p: CodebookSettings, *, stream: Wildcard, manifest: In, features: In, codebooks: Ins, out: Out) -> None:
    """Fit the codebook of one stream on the training split's frames (at most ``max_frames`` of them, evenly spaced).

    Args:
        codebooks: of the stream whose residual this one is of; none where it is of no residual.
    """
    settings = p.codebook
    table = manifests.read(manifest)
    table = table[(table.split == "train") & table.domain.isin(settings.domains)]
    feature = FeatureStore([features]).feature(settings.encoder, settings.output)
    frames = np.concatenate([feature[clip].numpy() for clip in sorted(table.id)])
    if settings.codebook == "given":
        given = GivenCodes.of(stream, settings.vocabulary)
        print(f"{stream}: {len(frames)} codes as the encoder gives them, {used(given.encode(frames), settings.vocabulary)}")
        given.save(out)
        return
    frames = frames.astype(np.float32)
    frames = frames[
        np.linspace(0, len(frames) - 1, min(len(frames), settings.max_frames or len(frames))).round().astype(np.int64)
    ]
    if settings.residual_of is not None:
        frames = by_stream(codebooks, [settings.residual_of])[settings.residual_of].residual(frames)
    whole, passes = settings.residual_of is None, settings.iterations or 1
    book = fit(stream, frames, settings.vocabulary, passes, p.seed, standardise=whole, kind=settings.codebook)
    print(
        f"{stream}: {len(frames)} frames, {settings.vocabulary} centres, {book.error(frames):.3f} of the variance left, "
        f"{used(book.encode(frames), settings.vocabulary)}"
    )
    book.save(out)


def used(codes: np.ndarray, vocabulary: int) -> str:
    """What is used of a codebook, for the log of its job."""
    perplexity, share = usage(codes, vocabulary)
    return f"perplexity {perplexity:.0f} of {vocabulary}, {share:.1%} of the codes used"
