"""FoG-A of any PyTorch model, without a gate in it: forward hooks switch its residual blocks off, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from agrepa.model.ablation import relative_change
from agrepa.probes.measurement import TOP, Scores, summarise
from agrepa.progress import track

Returns = Literal["sum", "residual"]


@contextmanager
def gated_off(block: nn.Module, returns: Returns = "sum") -> Iterator[list[int]]:
    """While this lasts, ``block`` adds nothing: what comes out of it is what went in.

    Args:
        block: its first tensor, by place or by name, is h; it returns h + f(h), alone or first in a tuple or list.
        returns: "residual" for a block that returns f(h) and leaves the sum to its caller.

    Yields a list that grows by one entry each time the block runs. Raises ValueError, when it runs, for a block that is not
    residual: one that reads no tensor, or returns one of another shape.
    """
    entered: list[Tensor] = []
    runs: list[int] = []

    def enter(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if given is None:
            raise ValueError(f"{type(block).__name__} is given no tensor, so it is no residual block: list others")
        entered.append(given.clone())  # some blocks add in place

    def leave(_block: nn.Module, _args: Any, output: Any) -> Any:
        given, several = entered.pop(), isinstance(output, (tuple, list))
        found = output[0] if several else output
        if not isinstance(found, Tensor) or found.shape != given.shape:
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                f"{type(block).__name__} makes {what} of {tuple(given.shape)}, so it is no residual block: list blocks that "
                "return what they are given plus an update of the same shape"
            )
        runs.append(len(runs) + 1)
        kept = (given if returns == "sum" else torch.zeros_like(given)).to(found.dtype)
        return type(output)([kept, *output[1:]]) if several else kept

    hooks = [block.register_forward_pre_hook(enter, with_kwargs=True), block.register_forward_hook(leave)]
    try:
        yield runs
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def fog_a(
    model: nn.Module,
    blocks: Sequence[nn.Module] | nn.ModuleList,
    batches: Iterable[Any],
    velocity: Callable[[Any, Any], Tensor],
    *,
    mask: Callable[[Any], Tensor] | None = None,
    clips: Callable[[Any], Sequence[str]] | None = None,
    returns: Returns = "sum",
    norm: Literal["l2", "squared_l2"] = "l2",
    samples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """FoG-A of every block of a model, with an interval over clips (Eq. 7-9). Runs the model L + 1 times a batch.

    Args:
        model: in eval mode.
        blocks: its L residual blocks in the order in which they run, e.g. an ``nn.ModuleList``; see ``gated_off``.
        batches: of anything that ``velocity`` takes; as many times t and draws of noise as are to be averaged over.
        velocity: of (model, batch), the prediction ``[B, T, M]``. It must not draw at random.
        mask: of a batch, True at valid frames ``[B, T]``; all frames when absent.
        clips: of a batch, a name for each of its B items. Items of one name, at several t say, are averaged, and the interval
            resamples names; when absent each item is a clip of its own.
        returns: "sum" for blocks that return h + f(h), "residual" for f(h).
        norm: as ``agrepa.model.ablation.relative_change``.
        samples: of the bootstrap.

    Returns:
        A row a block: ``layer`` from 1, ``block`` (its name in the model), ``score``, ``low`` and ``high`` (95 %, percentile
        bootstrap), ``rank`` from 1, ``top_3_stability`` (part of the samples in which it is among the best three) and ``clips``.

    Raises ValueError for a model in training mode, a block that is not the model's, does not run or is not residual, a prediction
    of another shape or not finite, and when no block changes anything.
    """
    if any(module.training for module in model.modules()):
        raise ValueError("the model is in training mode, and its dropout would be measured: call model.eval() first")
    named = {id(module): name for name, module in model.named_modules()}
    for layer, block in enumerate(blocks, 1):
        if id(block) not in named:
            raise ValueError(f"block {layer}, a {type(block).__name__}, is no module of the model: list the model's own")
    given = list(batches)
    if not given or not len(blocks):
        raise ValueError(f"FoG-A needs a batch and a block at least and was given {len(given)} and {len(blocks)}")
    changes: list[list[Tensor]] = [[] for _ in blocks]
    names: list[str] = []
    full, valid = torch.empty(0), torch.empty(0)
    for batch, layer in track([(batch, layer) for batch in given for layer in range(len(blocks) + 1)], "FoG-A", unit="run"):
        if layer == 0:
            full = velocity(model, batch).double()
            if full.ndim != 3 or not full.isfinite().all():
                raise ValueError(f"velocity gives {tuple(full.shape)}: it must give finite numbers [clips, frames, bands]")
            valid = mask(batch).to(full.device) if mask else full.new_ones(full.shape[:2])
            names += clips(batch) if clips else [str(len(names) + i) for i in range(len(full))]
            continue
        block = blocks[layer - 1]
        with gated_off(block, returns) as runs:
            gated = velocity(model, batch).double()
        if not runs:
            raise ValueError(f"block {layer}, {named[id(block)]}, does not run for this prediction: list those that do")
        changes[layer - 1].append(relative_change(gated, full, valid, norm).cpu())
    return _table(np.stack([torch.cat(parts).numpy() for parts in changes]), names, [named[id(b)] for b in blocks], samples, seed)


def _table(values: np.ndarray, clips: list[str], blocks: list[str], samples: int, seed: int) -> pd.DataFrame:
    """The frame of ``fog_a`` of scores ``[L, items]`` and the clip of each item."""
    if values.shape[1] != len(clips):
        raise ValueError(f"clips names {len(clips)} items and velocity predicts {values.shape[1]}: name each once a batch")
    if not values.any():
        raise ValueError("no block changes the prediction: probe a trained checkpoint (outputs that begin at zero hide all)")
    by_clip = pd.DataFrame(values.T).groupby(clips, sort=False).mean()
    found = summarise(Scores(by_clip.to_numpy().T[:, None], list(by_clip.index)), [], samples, seed)
    ranks = {layer: rank for rank, layer in enumerate(found["ranking"], 1)}
    return pd.DataFrame(
        {
            "layer": found["layers"],
            "block": blocks,
            "score": found["score"],
            "low": found["low"],
            "high": found["high"],
            "rank": [ranks[layer] for layer in found["layers"]],
            f"top_{TOP}_stability": found["top_k_stability"],
            "clips": found["clips"],
        }
    )
