"""A published list of test utterances and of what prompts each, such as LibriSpeech-PC's cross-sentence list."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agrepa.corpora.clip import Clip, fits
from agrepa.errors import CorpusError

if TYPE_CHECKING:
    from agrepa.params.corpora import Corpora, Source

FIELDS = ("reference id", "its seconds", "its transcript", "target id", "its seconds", "its transcript")
SHOWN = 10  # problems that a message lists


def read(path: Path) -> dict[str, str]:
    """Target -> reference, in the order of the list, from lines of FIELDS with tabs between them.

    The transcripts are not used: the corpus has its own.

    Raises CorpusError with every line that has other fields, a length that is no number, or itself or another reference for
    its target; or when the list is missing, empty or not in UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file: pairs in corpora.sources must name the list of prompts") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: is not in UTF-8 ({error}): download it again") from None
    pairs: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        if not line.strip():
            continue
        if len(cells) != len(FIELDS):
            problems.append(f"line {number}: has {len(cells)} fields between tabs, not {len(FIELDS)} ({', '.join(FIELDS)})")
            continue
        reference, target = cells[0].strip(), cells[3].strip()
        if not all(_is_number(cells[i]) for i in (1, 4)):
            problems.append(f"line {number}: {cells[1]!r} and {cells[4]!r} are not both numbers of seconds")
        elif target == reference:
            problems.append(f"line {number}: {target} would prompt itself")
        elif target in pairs:
            problems.append(f"line {number}: {target} has a prompt already, {pairs[target]}")
        else:
            pairs[target] = reference
    if problems:
        raise CorpusError(_told(f"{path}: {len(problems)} lines cannot be used", problems))
    if not pairs:
        raise CorpusError(f"{path}: lists no pairs: is it the right file?")
    return pairs


def narrowed(clips: list[Clip], source: Source, settings: Corpora) -> list[Clip]:
    """Clips whose test split is what the list names: its targets, each with its prompt, and the references.

    A reference that is no target itself is on a list of its own and is not evaluated. The file's name of a clip is its id.

    Raises CorpusError when an utterance of the list is not in the test split, or a reference is of no usable length.
    """
    path = Path(str(source.pairs))
    pairs = read(path)
    test = {Path(clip.file.partition(":")[0]).stem: clip for clip in clips if clip.split == "test"}
    named = dict.fromkeys([*pairs, *pairs.values()])
    if absent := [utterance for utterance in named if utterance not in test]:
        message = f"{path}: {len(absent)} of {len(named)} utterances are not in the test split"
        raise CorpusError(_told(f"{message}: correct subsets.test of the source, or the list", absent))
    limits = f"{settings.min_seconds}-{settings.max_seconds} s"
    unfit = []
    for reference in dict.fromkeys(pairs.values()):
        clip = test[reference]
        if clip.problem or not fits(clip.seconds, settings):
            unfit.append(f"{reference}: {clip.problem or f'is of {clip.seconds:g} s'}")
    if unfit:
        message = f"{path}: {len(unfit)} references cannot prompt anything: they must be readable and of {limits}"
        raise CorpusError(_told(f"{message}: change corpora.min_seconds and max_seconds, or the list", unfit))
    kept = [clip for clip in clips if clip.split != "test"]
    for utterance, clip in test.items():
        if utterance in pairs:
            kept.append(replace(clip, prompt=test[pairs[utterance]].id))
        elif utterance in named:
            kept.append(replace(clip, listing="prompt"))
    return kept


def _is_number(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def _told(message: str, problems: list[str]) -> str:
    more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return f"{message}:\n" + "\n".join(problems[:SHOWN]) + more
