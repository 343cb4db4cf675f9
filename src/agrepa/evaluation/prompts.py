"""Prompts: what of a speaker's other utterances stands before a clip, for the model to go on in that voice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from agrepa.data.example import Prompt


def choose(table: pd.DataFrame, frames: Mapping[str, int], ids: Iterable[str], at_most: int) -> dict[str, Prompt]:
    """The prompt of each clip whose speaker is known and has a training utterance.

    It is the speaker's longest training utterance of at most ``at_most`` mel frames, of several the first by id; where all are
    longer, the beginning of the shortest.

    Args:
        table: the manifest, indexed by clip id.
        frames: clip -> its mel frames.
    """
    train = table[(table.split == "train") & (table.domain == "speech") & (table.speaker != "")]
    spoken = {str(speaker): sorted(clips) for speaker, clips in train.groupby("speaker").groups.items()}
    prompts = {}
    for clip in ids:
        if utterances := spoken.get(table.speaker[clip]):
            whole = [other for other in utterances if frames[other] <= at_most]
            prompt = max(whole, key=frames.__getitem__) if whole else min(utterances, key=frames.__getitem__)
            prompts[clip] = prompt, min(frames[prompt], at_most)
    return prompts
