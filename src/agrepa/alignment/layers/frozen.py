"""Layers: those of the selection, from the first step to the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agrepa.alignment.protocols import Selection
    from agrepa.data.dataset import Dataset
    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import ArmSettings


class Frozen:
    """S and lambda as they were selected after Phase I."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.reachable = {domain: list(layers) for domain, (layers, _) in selection.items()}

    def __call__(self, step: int) -> Selection:
        return self.selection

    def observe(self, step: int, backbone: Backbone) -> dict[str, float]:
        return {}

    def memory(self) -> Any:
        return None

    def recall(self, memory: Any) -> None:
        pass


def build(p: ArmSettings, selection: Selection, backbone: Backbone, dataset: Dataset) -> Frozen:
    """The selection as it is."""
    return Frozen(selection)
