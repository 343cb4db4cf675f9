"""Unit error rate: re-tokenise the generated audio and compare with the tokens of the clip it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rapidfuzz.distance import Levenshtein

from agrepa.artifacts.features import FeatureStore
from agrepa.artifacts.files import write_json, write_table
from agrepa.corpora import manifest as manifests
from agrepa.encoders import extract
from agrepa.errors import ArtifactError
from agrepa.evaluation.statistics import ratio
from agrepa.job import In, Ins, Out
from agrepa.tokens.codebook import by_stream
from agrepa.tokens.sequence import without_repeats
from agrepa.tokens.tokenize import Tokenizer

if TYPE_CHECKING:
    from agrepa.params.stages import UnitsSettings


def unit_errors(found: np.ndarray, wanted: np.ndarray) -> tuple[int, int]:
    """(edit distance, reference length) of two id sequences after runs of one id have become one."""
    reference = without_repeats(wanted)
    return Levenshtein.distance(without_repeats(found).tolist(), reference.tolist()), len(reference)


def run(
    p: UnitsSettings, *, manifest: In, audio: In, tokens: In, codebooks: Ins, archives: Ins, out: Out, utterances: Out
) -> None:
    """Unit error rate of a row, in percent, a domain each, over the primary stream.

    The reference is the clip's own tokens, also for the control row, whose model was given another clip's.

    Args:
        tokens: index of the clips' tokens.
        codebooks: of the primary stream of each domain.
        archives: what these streams' encoders are loaded from.

    Raises ArtifactError when the folder is empty or holds a clip that the manifest lacks.
    """
    table = manifests.read(manifest).set_index("id", drop=False)
    wanted = FeatureStore([tokens]).feature("tokens", "tokens")
    tokenizer = Tokenizer(p.tokens, by_stream(codebooks, p.domains), p.domains)
    found = sorted(path.stem for path in audio.glob("*.flac"))
    unknown = [clip for clip in found if clip not in table.index]
    if unknown:
        raise ArtifactError(f"{audio}: holds clips that {manifest} lacks: {unknown[:5]}: run the stage that writes it again")
    if not found:
        raise ArtifactError(f"{audio}: holds no .flac clip: run the stage that writes it")
    streams = {"speech": (p.speech_encoder, p.tokens.speech.output), "audio": (p.audio_encoder, p.tokens.audio.output)}
    rows, result = [], {}
    for domain, (encoder, output) in ((domain, streams[domain]) for domain in p.domains):
        ids = [clip for clip in found if table.domain[clip] == domain]
        network = extract.load(encoder, archives)
        for clip, _, frames, *_ in extract.encode_folder(network, audio, ids, p.sample_rate, [output], encoder):
            errors, units = unit_errors(tokenizer.primary(frames.numpy(), domain), wanted[clip][:, 0].numpy())
            rows.append((clip, table.family[clip], domain, table.listing[clip], errors, units))
    scores = pd.DataFrame(rows, columns=["clip", "family", "domain", "listing", "errors", "units"]).sort_values(
        ["domain", "clip"]
    )
    for (domain, listing), part in scores.groupby(["domain", "listing"]):
        found_rate = ratio(part.errors, part.units, part.family.tolist()).scaled(100)
        name = f"{domain}_uer_unseen" if listing == manifests.UNSEEN else f"{domain}_uer"
        result[name] = found_rate.interval(positive=True).entry()
    write_table(utterances, scores)
    write_json(out, result)
