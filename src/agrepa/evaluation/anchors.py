"""The anchor rows of every table: the recordings themselves, and their copy synthesis (true mel -> vocoder)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from agrepa.artifacts.features import FeatureStore
from agrepa.audio import files, vocoders
from agrepa.corpora import manifest as manifests
from agrepa.errors import ArtifactError
from agrepa.evaluation.rows import ANCHORS, GROUND_TRUTH
from agrepa.job import In, Ins, Out, Wildcard
from agrepa.progress import track

if TYPE_CHECKING:
    from agrepa.params.stages import AnchorSettings


def run(p: AnchorSettings, *, row: Wildcard, manifest: In, mel: In, archives: Ins, out: Out) -> None:
    """Audio of an anchor row: ground truth or copy synthesis.

    Args:
        mel: index of the log-mel spectrograms.
        archives: what the vocoder is read from.

    Raises ArtifactError when the row is no anchor or a recording is not the one that the manifest names.
    """
    if row not in ANCHORS:
        raise ArtifactError(f"row {row!r} is no anchor: choose from {', '.join(ANCHORS)}")
    table = manifests.read(manifest)
    lists = manifests.evaluation_lists(table, p.split, p.speech_clips, p.unseen_clips, p.audio_clips)
    ids = [clip for listed in lists.values() for clip in listed]
    out.mkdir()
    if row == GROUND_TRUTH:
        for recording in table.set_index("id", drop=False).loc[ids].itertuples():
            manifests.wave(recording, p.sample_rate)  # is it still what the manifest says?
            shutil.copyfile(recording.clip, out / f"{recording.id}.flac")
        return
    spectrograms = FeatureStore([mel]).feature("mel", "mel")
    sound = vocoders.load(p.vocoder, p.mel, p.sample_rate, archives)
    for clip in track(ids, row, unit="clip"):
        files.write_flac(out / f"{clip}.flac", sound(spectrograms[clip]), p.sample_rate)
