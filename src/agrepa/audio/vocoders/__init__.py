"""From a log-mel spectrogram to a waveform: one module a kind, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agrepa.archives.containers import named
from agrepa.errors import ArtifactError, ParamsError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from agrepa.params.audio import Mel, Vocoder


def load(settings: Vocoder, mel: Mel, sample_rate: int, archives: list[Path]) -> Callable[[Tensor], np.ndarray]:
    """A vocoder: log-mel ``[T, bands]`` -> float32 waveform ``[N]`` at ``sample_rate``.

    Args:
        settings: its kind, which is a module of this package with a ``load`` of these arguments. One that states its
            ``FRONT_END`` is a network: the spectrogram must be that one, and it is handed its own archive alone.
        mel, sample_rate: the spectrogram that it is given.
        archives: downloads among which are those that it is loaded from.

    Raises:
        ParamsError: there is no such vocoder, or it was trained on another spectrogram.
        ArtifactError, CorpusError: an archive is missing or is not the pinned one.
    """
    kinds = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if settings.kind not in kinds:
        raise ParamsError(f"evaluation.vocoder: there is no {settings.kind!r}: choose from {', '.join(kinds)}")
    module = importlib.import_module(f"{__name__}.{settings.kind}")
    if front := getattr(module, "FRONT_END", None):
        given = {"sample_rate": sample_rate} | mel.model_dump()
        if wrong := [f"{key} is {given[key]} and must be {value}" for key, value in front.items() if given[key] != value]:
            raise ParamsError(
                f"vocoder {settings.kind} was trained on another spectrogram: {', '.join(wrong)}; "
                "change mel and corpora, or use griffin_lim"
            )
        found = named(archives)
        if settings.archive not in found:
            raise ArtifactError(
                f"vocoder {settings.kind} needs the archive {settings.archive!r} and was given {', '.join(found) or 'none'}"
            )
        archives = [found[settings.archive]]
    return module.load(settings, mel, sample_rate, archives)
