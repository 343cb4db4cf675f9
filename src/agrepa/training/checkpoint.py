"""Checkpoints as one safetensors file: weights, their moving average, optimizer state and the step. Never pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from agrepa.artifacts.files import load_tensors
from agrepa.errors import ArtifactError

M = TypeVar("M", bound=nn.Module)


class MovingAverage:
    """Exponential moving average of a module's parameters, with a short ramp so that early weights do not linger.

    decay_n = min(decay, (1 + n) / (10 + n)) after n updates.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, updates: int) -> None:
        decay = min(self.decay, (1 + updates) / (10 + updates))
        names, values = zip(*module.named_parameters(), strict=True)
        torch._foreach_lerp_([self.shadow[name] for name in names], [v.detach() for v in values], 1 - decay)


def save(path: Path, module: nn.Module, average: MovingAverage, optimizer: torch.optim.Optimizer, meta: dict[str, Any]) -> None:
    """Write a checkpoint: to a temporary name first, then renamed.

    Args:
        meta: JSON data kept in the file's header, e.g. ``{"step": 100}``.
    """
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in module.named_parameters()}
    tensors |= {f"ema.{k}": v for k, v in average.shadow.items()}
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
    path: Path, module: nn.Module, average: MovingAverage | None = None, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Restore what the checkpoint holds; parameters that it lacks (an arm's new heads) keep their values.

    Raises ArtifactError when a stored parameter does not fit the module.
    """
    stored = load_tensors(path)
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for key, value in stored.items():
            kind, _, name = key.partition(".")
            if kind == "optimizer":
                continue
            if name not in parameters or parameters[name].shape != value.shape:
                raise ArtifactError(
                    f"{path}: parameter {name} {tuple(value.shape)} does not fit the model: it is from other params"
                )
            if kind == "model":
                parameters[name].copy_(value)
            elif average is not None:
                average.shadow[name].copy_(value)
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
