"""Weights and settings of published networks, read in memory out of archives of the kinds hub and folder (see ``packed.py``).

Their files were checked by SHA-256 when they were packed; the archive's own hash stands on the card of each job that reads it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from agrepa.archives.checkpoints import plain_checkpoint
from agrepa.archives.containers import zip_member
from agrepa.errors import ArtifactError, CorpusError

IDENTITY = "agrepa-archive.json"  # the member that says what a packed archive is
TRANSFORMERS = ("model.safetensors", "pytorch_model.bin")  # under which transformers publishes a network's weights
SHOWN, LONGEST = 5, 400  # names, and characters of a library's own message, in one here


def identity(archive: Path) -> dict[str, Any]:
    """The ``package`` and ``version`` that the files are of, and ``files``: their names and SHA-256.

    Raises CorpusError when the archive is missing, is damaged or was not packed here.
    """
    return dict(json.loads(zip_member(archive, IDENTITY)))


def member(archive: Path, *names: str) -> str:
    """The first of some names that the archive has.

    Raises ArtifactError when it has none of them, CorpusError as ``identity``.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            there = set(zipped.namelist())
    except FileNotFoundError:
        raise CorpusError(f"{archive} is missing: fetch it again") from None
    except zipfile.BadZipFile as error:
        raise CorpusError(f"{archive} is damaged ({error}): delete it and fetch it again") from None
    if not (found := [name for name in names if name in there]):
        raise ArtifactError(
            f"{archive} has no {' or '.join(names)}: name it, with its SHA-256, in the files of this archive in archives.yaml"
        )
    return found[0]


def only_member(archive: Path) -> str:
    """The name of the one file of an archive. Raises ArtifactError when there are several, CorpusError as ``identity``."""
    names = list(identity(archive)["files"])
    if len(names) != 1:
        raise ArtifactError(f"{archive} holds {', '.join(names)}: name the checkpoint alone in its files")
    return names[0]


def read_settings(archive: Path, name: str = "config.json") -> dict[str, Any]:
    """A JSON member. Raises ArtifactError when it is not there or is none, CorpusError as ``identity``."""
    try:
        return dict(json.loads(zip_member(archive, member(archive, name))))
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{archive}: {name} is no JSON mapping ({error}): is it the published file?") from None


def read_weights(archive: Path, *names: str) -> Any:
    """What the first of some members that the archive has holds: ``.safetensors``, or a torch checkpoint of nothing but tensors
    and plain values (``weights_only=True``).

    Raises ArtifactError when none is there or it is no such file, CorpusError as ``identity``.
    """
    name = member(archive, *names)
    data = zip_member(archive, name)
    if not name.endswith(".safetensors"):
        return plain_checkpoint(data, f"{archive}: {name}")
    try:
        return load_safetensors(data)
    except SafetensorError as error:
        raise ArtifactError(f"{archive}: {name} is not a safetensors file ({error}): is it the published one?") from None


def fill(network: nn.Module, weights: dict[str, Tensor], archive: Path) -> None:
    """Give a network its weights in single precision, all of them and no others, in evaluation mode and without gradients.

    Raises ArtifactError when names or shapes differ.
    """
    try:
        # By torch's own method: a network may have narrowed it.
        nn.Module.load_state_dict(network, {name: tensor.float() for name, tensor in weights.items()}, assign=True)
    except RuntimeError as error:
        raise ArtifactError(f"{archive} does not hold the weights of this kind of network: {_short(error)}") from None
    network.eval().requires_grad_(False)


def beneath(weights: dict[str, Tensor], prefixes: Sequence[str], archive: Path) -> dict[str, Tensor]:
    """The weights whose names begin with the first of some prefixes that any has, without it.

    Raises ArtifactError when none begins so.
    """
    for prefix in prefixes:
        if found := {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}:
            return found
    names = ", ".join(sorted(weights)[:SHOWN]) or "nothing"
    raise ArtifactError(f"{archive} has no weights under {' or '.join(prefixes)}: it has {names} …")


def pretrained(kind: Any, archive: Path) -> Any:
    """A network of a class of transformers from ``config.json`` and the weights as they are published, older names included.

    It is in single precision and in evaluation mode, and nothing is drawn for it.

    Raises ArtifactError when weights are missing or of another size, or a file is not there, CorpusError as ``identity``.
    """
    weights = read_weights(archive, *TRANSFORMERS)
    config = kind.config_class.from_dict(read_settings(archive))
    with torch.random.fork_rng(devices=[]):
        try:
            network, found = kind.from_pretrained(
                None, config=config, state_dict=weights, dtype=torch.float32, output_loading_info=True
            )
        except RuntimeError as error:
            raise ArtifactError(f"{archive} does not hold the weights of {kind.__name__}: {_short(error)}") from None
    # What masks spectra in training, which a network that is only used has no need of.
    if missing := sorted(name for name in found["missing_keys"] if not name.endswith("masked_spec_embed")):
        raise ArtifactError(f"{archive} does not hold the weights of {kind.__name__}: it lacks {', '.join(missing[:SHOWN])} …")
    return network.eval().requires_grad_(False)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST]
