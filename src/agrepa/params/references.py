"""Names in an experiment that stand for an encoder, one of its outputs, or an archive, and whether that is there."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agrepa.domains import DOMAINS
from agrepa.extras import INSTALL
from agrepa.params.base import Key, Slip, kinds, stated

if TYPE_CHECKING:
    from agrepa.params.experiment import Experiment
    from agrepa.params.tokens import Stream

STORED = ("mel", "tokens")  # what the feature store calls the spectrograms and the tokens, beside the encoders
SECOND = "second_"  # begins the names of the streams that follow the primary one
WHEEL = ("wheel",)
FILES = ("hub", "folder")
RECORDINGS = ("deb", "tar")  # the kinds of archives that hold recordings
EMBEDDING = "embedding"  # the output that a Frechet distance compares


def slips(p: Experiment, package: Path) -> Iterator[Slip]:
    """Every name that stands for nothing, or for something that cannot be used there."""
    outputs = {name: _outputs(encoder.kind, package) for name, encoder in p.encoders.items()}
    yield from wrong_encoders(p, outputs, package)
    yield from wrong_leads(p, outputs, package)
    for domain in DOMAINS:
        for stream in (domain, f"{SECOND}{domain}"):
            settings = getattr(p.tokens, stream)
            use = Use(("tokens", stream, "encoder"), settings.encoder, ("tokens", stream, "output"), settings.output, "frames")
            yield from use.slips(p, outputs, {domain, *settings.domains})
    yield from wrong_codes(p, package)
    yield from wrong_residuals(p)
    for domain in DOMAINS:
        name, output = getattr(p.teachers, domain)
        use = Use(("teachers", domain, 0), name, ("teachers", domain, 1), output, "means")
        yield from use.slips(p, outputs, {domain})
    yield from wrong_targets(p)
    for i, name in enumerate(p.evaluation.frechet.embeddings):
        key: Key = ("evaluation", "frechet", "embeddings", i)
        yield from Use(key, name, key, EMBEDDING, "frames").slips(p, outputs, set(DOMAINS))
    yield from wrong_archives(p, package)
    yield from missing_libraries(p, package)


def encoder_kinds(package: Path) -> list[str]:
    """Modules that can be loaded as an encoder: they say which outputs they have."""
    return [kind for kind in kinds("encoders", "load", package) if stated("encoders", kind, "OUTPUTS", package)]


def _outputs(kind: str, package: Path) -> tuple[str, ...] | None:
    """Outputs of a kind of encoder, None when there is no such kind."""
    return tuple(stated("encoders", kind, "OUTPUTS", package)) if kind in encoder_kinds(package) else None


class Use:
    """One output of an encoder that something else reads.

    Args:
        encoder_key, output_key: where the encoder and where the output are named.
        kept: "frames" or "means", among which the output must be.
    """

    def __init__(self, encoder_key: Key, encoder: str, output_key: Key, output: str, kept: str) -> None:
        self.encoder_key, self.encoder, self.output_key, self.output, self.kept = encoder_key, encoder, output_key, output, kept

    def slips(self, p: Experiment, outputs: dict[str, tuple[str, ...] | None], domains: set[str]) -> Iterator[Slip]:
        """What keeps the output from being read for clips of ``domains``."""
        name, output = self.encoder, self.output
        if name not in p.encoders:
            yield Slip(self.encoder_key, f"there is no such encoder: encoders has {', '.join(p.encoders)}", name)
            return
        there, known, found = getattr(p.encoders[name], self.kept), outputs[name], output
        if self.output_key == self.encoder_key:  # the output is not written there, only the encoder
            found = name
        if known is not None and output not in known:
            yield Slip(self.output_key, f"encoder {name} has no output {output}: it has {', '.join(known)}", found)
        elif output not in there:
            message = f"needs {output} in encoders.{name}.{self.kept}, which has {', '.join(there) or 'nothing'}: add it there"
            yield Slip(self.output_key, message, found)
        if missing := [domain for domain in DOMAINS if domain in domains and domain not in p.encoders[name].domains]:
            message = f"is needed for {' and '.join(missing)}, which it does not encode: add it to encoders.{name}.domains"
            yield Slip(self.encoder_key, message, name)


def wrong_encoders(p: Experiment, outputs: dict[str, tuple[str, ...] | None], package: Path) -> Iterator[Slip]:
    """Outputs to keep that the encoder does not have or that have no mean, and names that the feature store needs itself."""
    for name, encoder in p.encoders.items():
        if name in STORED:
            yield Slip(("encoders", name), "is the name of other features already: choose another", name)
        known = outputs[name]
        for key in ("frames", "means"):
            for i, output in enumerate(getattr(encoder, key)):
                if known is not None and output not in known:
                    message = f"kind {encoder.kind} has no such output: choose from {', '.join(known)}"
                    yield Slip(("encoders", name, key, i), message, output)
                elif key == "means" and output in _codes(package, encoder.kind):
                    yield Slip(("encoders", name, key, i), "is codes, which have no mean: keep it in frames alone", output)


def wrong_leads(p: Experiment, outputs: dict[str, tuple[str, ...] | None], package: Path) -> Iterator[Slip]:
    """Silence before the clips that is no whole number of frames: the clip's own would not be where they are said to be."""
    for name, encoder in ((name, encoder) for name, encoder in p.encoders.items() if outputs[name] is not None):
        hops, rate = (stated("encoders", encoder.kind, constant, package) for constant in ("OUTPUTS", "SAMPLE_RATE"))
        for output in dict.fromkeys((*encoder.frames, *encoder.means)):
            if rate is None or not isinstance(hops, dict) or output not in hops:
                continue  # the encode stage finds it
            frames, step = encoder.lead_seconds * rate / hops[output], hops[output] / rate
            if abs(frames - round(frames)) > 1e-6:
                message = f"is {frames:g} frames of {output}: make it a multiple of {step:g} s, so that they are whole"
                yield Slip(("encoders", name, "lead_seconds"), message, encoder.lead_seconds)


def wrong_codes(p: Experiment, package: Path) -> Iterator[Slip]:
    """Streams of an output that is codes already, and of others, which are not coded as they must be."""
    for stream in (*DOMAINS, *(f"{SECOND}{domain}" for domain in DOMAINS)):
        settings: Stream = getattr(p.tokens, stream)
        if settings.encoder not in p.encoders:
            continue  # a slip of its own
        codes = _codes(package, p.encoders[settings.encoder].kind)
        given, count, key = settings.codebook == "given", codes.get(settings.output), ("tokens", stream)
        if given and count is None:
            message = f"{settings.output} of {settings.encoder} are no codes: use kmeans or vq"
            yield Slip((*key, "codebook"), message, settings.codebook)
        elif not given and count is not None:
            message = f"{settings.output} of {settings.encoder} are codes already, to which nothing can be fitted: use given"
            yield Slip((*key, "codebook"), message, settings.codebook)
        elif given and count != settings.vocabulary:
            message = f"{settings.encoder} has {count} codes: make it that"
            yield Slip((*key, "vocabulary"), message, settings.vocabulary)
        is_read = stream in p.domains or (p.tokens.config == "B" and stream.removeprefix(SECOND) in p.domains)
        if given and is_read and p.model.tables == "centres":
            message = f"takes the centres of the codebooks, and tokens.{stream}, whose codes are given, has none: use random"
            yield Slip(("model", "tables"), message, p.model.tables)


def wrong_residuals(p: Experiment) -> Iterator[Slip]:
    """Streams of what another one leaves that are not of the same frames."""
    for domain in DOMAINS:
        primary, second = getattr(p.tokens, domain), getattr(p.tokens, f"{SECOND}{domain}")
        if primary.residual_of is not None:
            message = "is a primary stream, which leaves something and is of nothing that is left: remove it"
            yield Slip(("tokens", domain, "residual_of"), message, primary.residual_of)
        key: Key = ("tokens", f"{SECOND}{domain}", "residual_of")
        if second.residual_of is None:
            continue
        if second.residual_of != domain:
            message = f"only {domain}, the primary stream of these clips, leaves something here: name it, or remove the key"
            yield Slip(key, message, second.residual_of)
        elif others := [name for name in ("encoder", "output", "domains") if getattr(primary, name) != getattr(second, name)]:
            message = f"differs from tokens.{domain} in {' and '.join(others)}: what that one leaves is left of its own frames"
            yield Slip(key, message, second.residual_of)


def wrong_targets(p: Experiment) -> Iterator[Slip]:
    """Arms that compare frames with a teacher of which no frames are kept."""
    for arm in [arm for arm in p.arms if arm in p.rows and p.rows[arm].reads_frames]:
        for domain in p.domains:
            name, output = getattr(p.teachers, domain)
            if name in p.encoders and output not in p.encoders[name].frames:
                message = (
                    f"compares frames of the teacher of {domain}, which are not kept: add {output} to encoders.{name}.frames"
                )
                yield Slip(("rows", arm, "target"), message, p.rows[arm].target)


def wrong_archives(p: Experiment, package: Path) -> Iterator[Slip]:
    """Archives that are not pinned, or are not what they are used as. A module that reads no wheel states in ARCHIVES what."""
    recordings: dict[Key, str] = {
        ("corpora", "sources", name, "archives", i): archive
        for name, source in p.corpora.sources.items()
        for i, archive in enumerate(source.archives)
    }
    networks: dict[Key, str] = {
        ("encoders", name, "archives", i): archive
        for name, encoder in p.encoders.items()
        for i, archive in enumerate(encoder.archives)
    }
    read_from: dict[Key, tuple[str, ...]] = {
        key: _stated(package, "encoders", p.encoders[str(key[1])].kind, "ARCHIVES") or WHEEL for key in networks
    }
    vocoder: Key = ("evaluation", "vocoder", "archive")
    read_from[vocoder] = _stated(package, "audio/vocoders", p.evaluation.vocoder.kind, "ARCHIVES") or WHEEL
    read_from["evaluation", "judge", "archive"] = (*WHEEL, *FILES)
    read_from["evaluation", "second_judge", "archive"] = read_from["evaluation", "similarity", "archive"] = FILES
    for name in ("vocoder", "judge", "second_judge", "mos", "similarity"):
        if (used := getattr(p.evaluation, name)) and used.archive:
            networks["evaluation", name, "archive"] = used.archive
    for key, archive in (recordings | networks).items():
        if archive not in p.archives:
            yield Slip(key, f"is not in archives.yaml, which has: {', '.join(p.archives)}", archive)
        elif key in networks and (kind := p.archives[archive].kind) not in (readable := read_from.get(key, WHEEL)):
            yield Slip(key, f"a network is read from a {' or '.join(readable)} and this archive is a {kind}", archive)
        elif key in recordings and archive in networks.values() and p.archives[archive].kind not in RECORDINGS:
            holder = ".".join(map(str, next(k for k, a in networks.items() if a == archive)))
            yield Slip(key, f"holds the network of {holder}, not recordings: name an archive of recordings", archive)


def missing_libraries(p: Experiment, package: Path) -> Iterator[Slip]:
    """Kinds whose module states in LIBRARY a library that is not installed."""
    named: dict[Key, tuple[str, str]] = {("encoders", name, "kind"): ("encoders", e.kind) for name, e in p.encoders.items()}
    named["evaluation", "vocoder", "kind"] = "audio/vocoders", p.evaluation.vocoder.kind
    for key, (folder, kind) in named.items():
        wanted = _stated(package, folder, kind, "LIBRARY")
        if wanted and find_spec(wanted) is None:
            yield Slip(key, f"needs the library {wanted}, which is not installed: {INSTALL}, or choose another kind", kind)


def _codes(package: Path, kind: str) -> dict[str, int]:
    """The outputs of a kind of encoder that are codes, and how many codes there are."""
    return _stated(package, "encoders", kind, "CODES") or {}


def _stated(package: Path, folder: str, kind: str, constant: str) -> Any:
    """``stated`` of a kind that may not be there, which is a slip of its own."""
    return stated(folder, kind, constant, package) if kind in kinds(folder, "load", package) else None
