"""Prompts: what of a speaker's other utterances stands before a clip, for the model to go on in that voice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from agrepa.data.example import Prompt


def choose(table: pd.DataFrame, frames: Mapping[str, int], ids: Iterable[str], at_most: int) -> dict[str, Prompt]:
    """The prompt of each clip whose speaker says anything else.

    Where the manifest names one (``prompt``), it is that, or its beginning where it is longer than ``at_most`` mel frames. Else
    it is the speaker's longest training utterance of at most so many, of several the first by id; where all are longer, the
    beginning of the shortest. Of a speaker whom training never hears, it is another utterance of the clip's split.

    Args:
        table: the manifest, indexed by clip id.
        frames: clip -> its mel frames.
    """
    spoken = table[(table.domain == "speech") & (table.speaker != "")]
    said = {key: sorted(clips) for key, clips in spoken.groupby(["split", "speaker"]).groups.items()}
    prompts = {}
    for clip in ids:
        if given := table.prompt[clip]:
            prompts[clip] = given, min(frames[given], at_most)
            continue
        speaker, split = table.speaker[clip], table.split[clip]
        others = said.get(("train", speaker)) or [other for other in said.get((split, speaker), []) if other != clip]
        if others:
            whole = [other for other in others if frames[other] <= at_most]
            prompt = max(whole, key=frames.__getitem__) if whole else min(others, key=frames.__getitem__)
            prompts[clip] = prompt, min(frames[prompt], at_most)
    return prompts
