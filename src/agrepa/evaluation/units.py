"""Unit error rate: re-tokenise the generated audio and compare with the tokens of the clip it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rapidfuzz.distance import Levenshtein

from agrepa.artifacts import Features, write_json, write_table
from agrepa.corpora import manifest as manifests
from agrepa.domains import DOMAINS
from agrepa.encoders import extract
from agrepa.errors import ArtifactError
from agrepa.evaluation.statistics import cluster_bootstrap
from agrepa.tokens.codebook import Codebook
from agrepa.tokens.sequence import without_repeats
from agrepa.tokens.tokenize import Tokenizer

if TYPE_CHECKING:
    from agrepa.params import Experiment


def unit_errors(heard: np.ndarray, wanted: np.ndarray) -> tuple[int, int]:
    """(edit distance, reference length) of two id sequences after runs of one id have become one."""
    reference = without_repeats(wanted)
    return Levenshtein.distance(without_repeats(heard).tolist(), reference.tolist()), len(reference)


def run(
    p: Experiment,
    manifest: Path,
    audio: Path,
    tokens: list[Path],
    speech: Path,
    sounds: Path,
    whisper_archives: list[Path],
    yamnet_archives: list[Path],
    out: Path,
    utterances: Path,
) -> None:
    """Primary-stream unit error rate of a row, in percent, a domain each: units.json and one row a clip.

    The reference is the clip's own tokens, also for the control row, whose model was given another clip's.
    """
    table = manifests.read(manifest).set_index("id", drop=False)
    wanted = Features(tokens, "tokens")
    tokenizer = Tokenizer(p.tokens, {"speech": Codebook.load(speech), "audio": Codebook.load(sounds)})
    archives = {"whisper": whisper_archives, "yamnet": yamnet_archives}
    found = sorted(path.stem for path in audio.glob("*.flac"))
    unknown = [clip for clip in found if clip not in table.index]
    if unknown or not found:
        raise ArtifactError(
            f"{audio}: holds clips that the manifest lacks: {unknown[:5]}" if unknown else f"{audio}: holds no .flac clip"
        )
    rows, result = [], {}
    for domain in DOMAINS:
        settings = getattr(p.tokens, domain)
        ids = [clip for clip in found if table.domain[clip] == domain]
        encoder = extract.load(settings.encoder, archives[settings.encoder])
        encoded = extract.encode_folder(
            encoder, audio, ids, p.corpora.sample_rate, [settings.output], p.encoders[settings.encoder].batch_seconds
        )
        for clip, _, frames, _ in encoded:
            errors, units = unit_errors(tokenizer.primary(frames.numpy(), domain), wanted[clip][:, 0].numpy())
            rows.append((clip, table.family[clip], domain, errors, units))
    scores = pd.DataFrame(rows, columns=["clip", "family", "domain", "errors", "units"]).sort_values(["domain", "clip"])
    for domain, part in scores.groupby("domain"):
        interval = cluster_bootstrap(part.errors, part.units, part.family, p.evaluation.bootstrap, p.seed)
        result[f"{domain}_uer"] = {
            "value": 100 * interval.value,
            "low": 100 * interval.low,
            "high": 100 * interval.high,
            "n": len(part),
        }
    write_table(utterances, scores)
    write_json(out, result)
