"""Which deeper layer of the model itself a layer is to agree with, for the targets that are one."""

from __future__ import annotations

from agrepa.errors import ArtifactError


def deeper(layer: int, depth: int, gap: int) -> int:
    """The layer ``gap`` above ``layer`` in a model of ``depth`` layers, at most the last.

    Raises ArtifactError for the last layer, which has none above it.
    """
    if layer >= depth:
        raise ArtifactError(f"layer {layer} of {depth} has no deeper layer to agree with: select others")
    return min(layer + gap, depth)
