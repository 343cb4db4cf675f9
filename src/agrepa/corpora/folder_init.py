"""A first experiment on a folder of recordings: the CSV that lists them, and a params file whose counts they can fill."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from agrepa import params
from agrepa.audio import files
from agrepa.corpora import folder
from agrepa.corpora.clip import fits
from agrepa.corpora.decode import SILENCE
from agrepa.corpora.manifest import SPLITS
from agrepa.domains import DOMAINS
from agrepa.errors import AgrepaError, CorpusError
from agrepa.params import Experiment
from agrepa.params.base import NAME
from agrepa.params.corpora import Corpora, Source

LISTING = "recordings.csv"
SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff", ".mp3")
LONGEST = 10.0  # seconds; longer utterances are left out, longer sounds cut
FEWEST = 3  # clips of each domain that are evaluated: a distance is extrapolated along a line
SHARES = ((0.8, 0.1, 0.1), (0.6, 0.2, 0.2))  # of train, validation and test; the second where the first gives too few clips
SECONDS_A_CODE = 1.0  # training speech behind each code: 50 frames of it
SMALLEST_VOCABULARY = 8
HEADER = """# {name}: own recordings, listed in {csv}; written by agrepa folder init from {template}.
#   command:  make reproduce PARAMS={out}
"""

Counts = Counter[tuple[str, str]]


def init(recordings: Path, out: Path, template: Path) -> str:
    """Write ``recordings.csv`` into a folder of recordings, and the params file of an experiment on them.

    A recording is every file of SUFFIXES at any depth, but for hidden ones. One with a text file of its name beside it is speech
    and that text is what is said; any other is audio.

    Args:
        recordings: the folder.
        out: the params file, beside which arms.yaml and archives.yaml must lie; its name is the experiment's.
        template: a params file from which everything is taken that does not depend on the recordings.

    Returns what was found and what to do next.

    Raises CorpusError when either file is there already, or the recordings are too few or cannot be used; ParamsError when the
    template cannot be read. Nothing is written then.
    """
    listing = recordings / LISTING
    _check(recordings, listing, out)
    known = params.load(template)
    rows = list(_rows(recordings))
    rates = {path: files.length(recordings / path)[1] for path, *_ in rows}
    written: list[Path] = []
    try:
        written.append(listing)
        with listing.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([("path", "domain", "text"), *rows])
        corpora, counts, seconds = _measured(known, listing, out.stem, rows, min(rates.values()))
        written.append(out)
        out.write_text(_params(template, out, known, corpora, counts, seconds), encoding="utf-8")
        params.load(out)
    except AgrepaError:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    found = "\n".join(f"  {split}: {', '.join(f'{counts[split, d]} {d} clips' for d in DOMAINS)}" for split in SPLITS)
    return f"{listing}: {len(rows)} recordings\n{found}\n{out}: written; look through it, then run\n  make reproduce PARAMS={out}"


def _check(recordings: Path, listing: Path, out: Path) -> None:
    if not recordings.is_dir():
        raise CorpusError(f"{recordings}: no such folder: name the one that your recordings are in")
    for path in (listing, out):
        if path.exists():
            raise CorpusError(f"{path}: is there already and is not overwritten: remove it, or use it as it is")
    if not re.fullmatch(NAME, out.stem):
        raise CorpusError(f"{out}: {out.stem!r} cannot name an experiment: use a-z, 0-9 and _ and begin with a letter")
    for name in params.FILES.values():
        if not out.with_name(name).is_file():
            raise CorpusError(f"{out}: there is no {name} beside it, which every experiment reads: use --out params/{out.name}")


def _rows(recordings: Path) -> Iterator[tuple[str, str, str]]:
    """(path relative to the folder, domain, text) of every recording, by path."""
    found = [path for path in sorted(recordings.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(recordings).parts)]
    if not found:
        raise CorpusError(f"{recordings}: holds no recording ({', '.join(SUFFIXES)}): name the folder that yours are in")
    for path in found:
        spoken, words = path.with_suffix(".txt"), ""
        if spoken.is_file():
            try:
                words = " ".join(spoken.read_text(encoding="utf-8-sig").split())
            except UnicodeDecodeError as error:
                raise CorpusError(f"{spoken}: not text in UTF-8 ({error}): save it again as such") from None
            if not words:
                raise CorpusError(f"{spoken}: is empty: write what is said in {path.name}, or remove it if nothing is")
        yield path.relative_to(recordings).as_posix(), "speech" if words else "audio", words


def _measured(
    known: Experiment, listing: Path, name: str, rows: list[tuple[str, str, str]], lowest_rate: int
) -> tuple[Corpora, Counts, dict[str, float]]:
    """The corpora of the new experiment, the usable clips of each split and domain, and the seconds of training by domain."""
    total = Counter(domain for _, domain, _ in rows)
    if not total["speech"]:
        raise CorpusError(
            f"{listing.parent}: none of the {len(rows)} recordings has a transcript, and an experiment needs speech: "
            "write what is said in 001.wav into 001.txt beside it"
        )
    for train, validation, test in SHARES:
        shares = {"train": train, "validation": validation, "test": test}
        source = Source.model_validate(
            {"kind": "folder", "csv": str(listing), "split_by": "utterance", "shared_texts": "move", "shares": shares}
        )
        every = {domain: None if total[domain] else 0 for domain in DOMAINS}
        changes: dict[str, object] = {"max_seconds": LONGEST, "bandwidth_hz": min(known.corpora.sample_rate / 2, lowest_rate / 2)}
        changes |= {split: every | ({} if split == "train" else {"unseen": 0}) for split in SPLITS}
        data = known.corpora.model_dump() | changes | {"sources": {name: source.model_dump()}}
        corpora = Corpora.model_validate(data)
        counts, seconds = _counts(corpora, corpora.sources[name], listing.parent)
        if all(counts[split, domain] >= FEWEST for split in SPLITS for domain in total):
            return corpora, counts, seconds
    split, domain = next((s, d) for s in SPLITS for d in total if counts[s, d] < FEWEST)
    raise CorpusError(
        f"{listing.parent}: {counts[split, domain]} clips of {domain} for the {split} split, of {total[domain]} recordings, and "
        f"{FEWEST} are the fewest: add recordings of {corpora.min_seconds:g}-{LONGEST:g} s, 15 or more of a domain"
    )


def _counts(corpora: Corpora, source: Source, recordings: Path) -> tuple[Counts, dict[str, float]]:
    counts: Counts = Counter()
    seconds: dict[str, float] = dict.fromkeys(DOMAINS, 0.0)
    for clip in folder.clips({}, corpora, source):
        if not fits(clip.seconds, corpora):
            continue
        wave, rate = files.read(recordings / clip.file, start=clip.start, seconds=clip.seconds)
        part = files.trim_silence(wave, rate, SILENCE)
        if fits(length := (part.stop - part.start) / rate, corpora):
            counts[clip.split, clip.domain] += 1
            seconds[clip.domain] += length if clip.split == "train" else 0.0
    return counts, seconds


def _params(template: Path, out: Path, known: Experiment, corpora: Corpora, counts: Counts, seconds: dict[str, float]) -> str:
    """The template's text with what depends on the recordings put in its place; all comments stay."""
    domains = [domain for domain in DOMAINS if counts["train", domain]]
    source = corpora.sources[out.stem]
    fewest = {split: min(counts[split, domain] for domain in domains) for split in SPLITS}
    probed = {name: min(grid.clips, fewest["validation"]) for name, grid in known.probes.grids().items()}
    heard = {domain: min(getattr(known.evaluation, f"{domain}_clips"), counts["test", domain]) for domain in DOMAINS}
    shares = ", ".join(f"{split}: {getattr(source.shares, split):g}" for split in SPLITS)
    every = ", ".join(f"{domain}: {'null' if domain in domains else 0}" for domain in DOMAINS)
    edits: list[tuple[str, str, Callable[[str], str] | str]] = [
        ("", "name", out.stem),
        ("corpora", "bandwidth_hz", f"{corpora.bandwidth_hz:g}"),
        ("corpora", "max_seconds", f"{corpora.max_seconds:.1f}"),
        ("corpora", "train", f"{{{every}}}"),
        *(("corpora", split, f"{{{every}, unseen: 0}}") for split in SPLITS[1:]),
        *(("tokens", stream, _fitting(vocabulary)) for stream, vocabulary in _vocabularies(known, seconds).items()),
        *(("probes", name, _with("clips", clips)) for name, clips in probed.items() if name != "fog_a"),
        ("probes", "fog_a.clips", str(probed["fog_a"])),
        ("probes", "fog_a.trend_clips", str(min(known.probes.fog_a.trend_clips, fewest["validation"]))),
        *(("evaluation", f"{domain}_clips", str(count)) for domain, count in heard.items()),
        ("evaluation", "unseen_clips", "0"),
        ("evaluation", "frechet", _with("reference_clips", min(known.evaluation.frechet.reference_clips, fewest["train"]))),
        ("reporting", "data_note", f'"{out.stem}: own recordings; not comparable in level with the paper."'),
        ("reporting", "listening_clips", str(min(known.reporting.listening_clips, *(heard[d] for d in domains)))),
    ]
    text = template.read_text(encoding="utf-8")
    for room, key, value in edits:
        text = _edited(text, room, key, value, template)
    listed = (
        f"    {out.stem}:\n      kind: folder\n      csv: {source.csv}\n"
        f"      split_by: utterance       # speaker needs a column speaker, and tests on voices that training never heard\n"
        f"      shares: {{{shares}}}\n"
        f"      shared_texts: move        # utterances of one transcript stay in one split; or drop, or refuse\n"
    )
    text = re.sub(r"(?m)^  sources:.*\n(?:    .*\n)+", lambda _: f"  sources:\n{listed}", text, count=1)
    text = re.sub(
        r"(?m)^(  bandwidth_hz: .*# ).*$",
        r"\1half the lowest sample rate of the recordings; both domains are low-passed here",
        text,
    )
    if "audio" not in domains:
        text = re.sub(
            r"(?m)^(  train: [^#\n]*})$", r"\1  # audio: 0 leaves general audio out, and what is said of it below", text
        )
    text = re.sub(r"\A(?:#.*\n)+", "", text)
    return HEADER.format(name=out.stem, csv=source.csv, template=template, out=out) + text


def _vocabularies(known: Experiment, seconds: dict[str, float]) -> dict[str, int]:
    """Stream -> its vocabulary: the template's, or the power of two that the seconds of training can fill."""
    found = {}
    for domain in DOMAINS:
        room = max(SMALLEST_VOCABULARY, 2 ** (int(max(seconds[domain], 1) / SECONDS_A_CODE).bit_length() - 1))
        for stream in (domain, f"second_{domain}"):
            most = getattr(known.tokens, stream).vocabulary
            found[stream] = min(most, room) if seconds[domain] else most
    return found


def _with(key: str, value: int) -> Callable[[str], str]:
    """A mapping on one line with another value of one key."""
    return lambda old: re.sub(rf"(?<![a-z_]){key}: [^,}}]+", f"{key}: {value}", old)


def _fitting(vocabulary: int) -> Callable[[str], str]:
    return _with("vocabulary", vocabulary)


def _edited(text: str, room: str, key: str, value: Callable[[str], str] | str, template: Path) -> str:
    """The text with another value of one key of a room, or of a mapping in it (``mapping.key``), its comment kept.

    Raises CorpusError when the key does not stand there on a line of its own.
    """
    start, indent, (*mappings, last) = 0, "", key.split(".")
    for name in (room, *mappings) if room else mappings:
        start, indent = text.index(f"\n{indent}{name}:", start), f"{indent}  "
    pattern = re.compile(rf"(?m)^({indent}{last}: *)((?:\"[^\"]*\"|[^#\n])*?)( *)(#.*)?$")
    found = pattern.search(text, start)
    if found is None:
        raise CorpusError(f"{template}: {room}.{key} does not stand on a line of its own: use params/demo.yaml as the template")
    new = value if isinstance(value, str) else value(found[2])
    gap = " " * max(2, len(found[2] + found[3]) - len(new)) if found[4] else ""
    return text[: found.start()] + found[1] + new + gap + (found[4] or "") + text[found.end() :]
