"""Checkpoints as one safetensors file: weights, their moving average, optimizer state and the step. Never pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from agrepa.artifacts.files import load_tensors
from agrepa.errors import ArtifactError

M = TypeVar("M", bound=nn.Module)


def decay_at(update: int, decay: float, planned: int) -> float:
    """Decay of a moving average at its n-th update: min(decay, (1 + n) / (10 + n)) in the first tenth of the planned updates,
    so that early weights do not linger, and ``decay`` from there on, which the ramp alone reaches after 4,490 updates for .998.
    """
    return min(decay, (1 + update) / (10 + update)) if update * 10 < planned else decay


def moving_average(module: nn.Module, decay: float, planned: int) -> AveragedModel:
    """An exponential moving average of a module's parameters, in eval mode.

    Args:
        planned: updates of the whole training, over both phases (see ``decay_at``).
    """

    def blend(averaged: Any, current: Any, updates: Tensor | int) -> None:
        get_ema_multi_avg_fn(decay_at(int(updates), decay, planned))(averaged, current, updates)

    return AveragedModel(module, multi_avg_fn=blend).eval()


def save(path: Path, module: nn.Module, average: AveragedModel, optimizer: torch.optim.Optimizer, meta: dict[str, Any]) -> None:
    """Write a checkpoint: to a temporary name first, then renamed.

    Args:
        average: of some of the module's children, under their names.
        meta: JSON data kept in the file's header, e.g. ``{"step": 100}``.
    """
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in module.named_parameters()}
    tensors |= {f"ema.{k}": v for k, v in average.module.named_parameters()} | {"averaged.updates": average.n_averaged}
    names = {id(value): name for name, value in module.named_parameters()}
    for parameter, state in optimizer.state.items():
        tensors |= {f"optimizer.{names[id(parameter)]}.{key}": torch.as_tensor(value) for key, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    contiguous = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    save_file(contiguous, temporary, metadata={"meta": json.dumps(meta, sort_keys=True)})
    temporary.replace(path)


def meta(path: Path) -> dict[str, Any]:
    """The checkpoint's header data."""
    if not path.exists():
        raise ArtifactError(f"{path} is missing: run the stage that writes it")
    try:
        with safe_open(path, framework="pt") as stored:
            return json.loads((stored.metadata() or {}).get("meta", "{}"))
    except Exception as error:  # safetensors raises its own type, which differs between versions
        raise ArtifactError(f"{path} is not a readable checkpoint ({error}): delete it and run its stage again") from None


def load(
    path: Path, module: nn.Module, average: AveragedModel | None = None, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Restore what the checkpoint holds; parameters that it lacks (an arm's new heads) keep their values.

    Raises ArtifactError when a stored parameter does not fit the module.
    """
    stored = load_tensors(path)
    parameters = dict(module.named_parameters())
    places: dict[str, dict[str, Any]] = {"model": parameters}
    if average is not None:
        places |= {"ema": dict(average.module.named_parameters()), "averaged": {"updates": average.n_averaged}}
    with torch.no_grad():
        for key, value in stored.items():
            kind, _, name = key.partition(".")
            if kind not in places:
                continue
            if name not in places[kind] or places[kind][name].shape != value.shape:
                raise ArtifactError(
                    f"{path}: parameter {name} {tuple(value.shape)} does not fit the model: it is from other params"
                )
            places[kind][name].copy_(value)
    if optimizer is not None:
        for name, parameter in parameters.items():
            prefix = f"optimizer.{name}."
            state = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
            if state:
                # Adam keeps its step counter on the CPU and its moments with the parameter.
                optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in state.items()}


def load_average(path: Path, module: M, prefix: str = "") -> M:
    """Put the moving average's weights into ``module``, for evaluation; what it does not have is ignored.

    Args:
        prefix: what the module's parameters are called in the checkpoint before their own name, e.g. ``"backbone."``.

    Returns the module in eval mode. Raises ArtifactError when the checkpoint does not fit it.
    """
    stored = load_tensors(path)
    own = {f"ema.{prefix}{name}": parameter for name, parameter in module.named_parameters()}
    if missing := [name for name in own if name not in stored]:
        raise ArtifactError(f"{path} has no weights for {missing[0]} and {len(missing) - 1} more: it is from other params")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != stored[name].shape:
                raise ArtifactError(f"{path}: parameter {name} does not fit the model: it is from other params")
            parameter.copy_(stored[name])
    return module.eval()
