"""What ``params/paper_tiny.yaml`` runs on: small corpora in the published layouts, tiny networks in their libraries' formats.

    python tests/stand_ins.py

makes ``work/stand_ins`` below the folder that it is started in, a copy of the repository:

* ``LibriSpeech``, ``AudioSet``, ``pairs.lst``: recordings of the demo's pinned archives, under the names of the two corpora;
* ``networks/<archive>``: the files of each network of the paper, of random weights; the judge of WER is the demo's;
* ``params``: a copy of ``params`` whose archives.yaml has the paper's archives as folders, pinned by their hashes;
* ``cache``: a cache of downloads of its own, so that no stand-in takes the place of the real file in the user's.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import packing
import tiny_networks
import yaml
from published_corpora import flac, segment, write_librispeech, write_pairs, write_parquet

from agrepa.archives.containers import deb_members, zip_member
from agrepa.archives.fetch import fetch
from agrepa.audio import files
from agrepa.corpora import queen
from agrepa.corpora.game_sound_labels import label
from agrepa.corpora.game_sound_packages import sounds
from agrepa.corpora.queen_resources import Resources
from agrepa.evaluation.judge_files import FOLDER, MEMBERS
from agrepa.params.archives import Archive
from agrepa.params.reading import read_yaml

FOLDER_OF_ALL = Path("work/stand_ins")
# Readers of each subset by their numbers, and how many utterances each has.
READERS = {
    "train-clean-100": (("19", "26"), 4),
    "train-clean-360": (("14", "16"), 4),
    "train-other-500": (("20", "25"), 4),
    "dev-clean": (("84", "174"), 3),
    "test-clean": (("61", "121", "237"), 3),
}
SEGMENTS = {"bal_train": 8, "unbal_train": 10, "eval": 16}
SECONDS = {"speech": (1.2, 2.5), "audio": (1.0, 3.0)}  # from, to
RATES = (48000, 44100)
PUBLISHED = ("distillmos",)  # of the paper's archives those that are used as they are


def make(archive: Callable[[str], Path]) -> None:
    """All of it; ``archive(name)`` is the path of a pinned archive."""
    shutil.rmtree(FOLDER_OF_ALL, ignore_errors=True)
    make_librispeech(FOLDER_OF_ALL, archive("queen"))
    make_audioset(FOLDER_OF_ALL / "AudioSet", archive("scratch"))
    make_networks(FOLDER_OF_ALL / "networks", archive("whisper_tiny_en"))
    make_params(FOLDER_OF_ALL / "params", FOLDER_OF_ALL / "networks")
    (FOLDER_OF_ALL / "cache").mkdir()
    for name in PUBLISHED:
        shutil.copy(archive(name), FOLDER_OF_ALL / "cache")


def make_librispeech(folder: Path, queen_archive: Path) -> None:
    """The tree, a reader for each character of the game who says most, and the list of pairs over test-clean."""
    resources = Resources(deb_members(queen_archive, lambda name: name == queen.DATA)[queen.DATA], str(queen_archive))
    said: dict[str, list[queen.Utterance]] = defaultdict(list)
    for utterance in queen.utterances(resources):
        if len(utterance.segments) == 1 and utterance.speaker:
            said[utterance.speaker].append(utterance)
    characters = iter(sorted(said, key=lambda name: (-len(said[name]), name)))
    taken: set[str] = set()
    spoken: dict[str, dict[str, list[tuple[str, bytes]]]] = {}
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for subset, (readers, count) in READERS.items():
        for reader in readers:
            own: list[tuple[str, bytes]] = []
            while len(own) < count:  # else they say too little of a fitting length
                character = next(characters)
                own = list(itertools.islice(_utterances(said[character], resources, taken), count))
            spoken.setdefault(subset, {})[reader] = own
            lines.append(f"{reader:<4} | F | {subset:<16} | 0.10  | {character.title()}")
    write_librispeech(folder / "LibriSpeech", spoken, "\n".join(lines) + "\n")
    readers, count = READERS["test-clean"]
    named = [[f"{reader}-7-{number:04d}" for number in range(count)] for reader in readers]
    write_pairs(folder / "pairs.lst", *(pair for of_one in named for pair in zip(of_one, of_one[1:] + of_one[:1], strict=True)))


def _utterances(said: list[queen.Utterance], resources: Resources, taken: set[str]) -> Iterator[tuple[str, bytes]]:
    """Transcript and FLAC at 16 kHz of what is of a fitting length and that nobody has said before."""
    least, most = SECONDS["speech"]
    for utterance in said:
        name = utterance.segments[0][0]
        text = " ".join(re.sub(r"[^A-Z' ]", " ", utterance.text.upper()).split())
        wave, rate = files.read(resources[name], name)
        if least <= len(wave) / rate <= most and text not in taken and len(text.split()) >= queen.MIN_WORDS:
            taken.add(text)
            yield text, flac(files.resample(wave, rate, 16000), 16000)


def make_audioset(root: Path, scratch_archive: Path) -> None:
    """Parquet files of sounds, in turn at each of RATES."""
    found, numbers = _sounds(scratch_archive), itertools.count()
    for subset, count in SEGMENTS.items():
        rows = []
        for name, caption, wave, rate in itertools.islice(found, count):
            to_rate = RATES[next(numbers) % len(RATES)]
            audio = flac(files.resample(wave, rate, to_rate), to_rate)
            rows.append(segment(_short(name, 8), audio, [f"/m/{_short(caption, 3)}"], [caption.capitalize()]))
        if len(rows) < count:
            raise ValueError(f"{scratch_archive} has {len(rows)} more sounds and {subset} asks for {count}: lower SEGMENTS")
        half = len(rows) // 2
        write_parquet(root / "data" / subset / "00.parquet", rows[:half])
        write_parquet(root / "data" / subset / "01.parquet", rows[half:])


def _sounds(path: Path) -> Iterator[tuple[str, str, Any, int]]:
    """Name, class, wave and rate of each sound of a fitting length."""
    least, most = SECONDS["audio"]
    for sound in sounds("scratch", path):
        seconds, rate = files.length(sound.data, sound.name)
        if least <= seconds <= most:
            yield sound.name, label("scratch", sound.caption), files.read(sound.data, sound.name, mix=True)[0], rate


def _short(name: str, count: int) -> str:
    """The hash of a name, as ids of videos and classes are written."""
    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()[:count]).decode().rstrip("=")


def make_networks(folder: Path, judge_archive: Path) -> None:
    """A folder for each archive of the paper, with the files that archives.yaml asks of it."""
    tiny_networks.whisper(folder / "whisper_large_v3")
    tiny_networks.beats(folder / "beats_iter3_plus", "BEATs_iter3_plus_AS2M.pt")
    tokenizer = tiny_networks.as_onnx(tiny_networks.s3("v1"))
    packing.written(folder / "s3_v1", speech_tokenizer_v1__onnx=tokenizer)
    packing.written(folder / "vggish", **{"vggish-10086976__pth": tiny_networks.vggish()})
    tiny_networks.vocos(folder / "vocos_24khz")
    tiny_networks.hubert(folder / "hubert_large_ls960_ft")
    tiny_networks.wavlm(folder / "wavlm_base_plus_sv")
    judge = {name: zip_member(judge_archive, f"{FOLDER}/{name}") for name in MEMBERS}
    packing.written(folder / "faster_whisper_large_v3", **judge)


def make_params(folder: Path, networks: Path) -> None:
    """The params, with an archives.yaml of the stand-ins: each under the name of what it stands for."""
    shutil.copytree("params", folder)
    archives = read_yaml(folder / "archives.yaml")
    for network in sorted(networks.iterdir()):
        stands_for = archives[network.name]
        names = [name for name in stands_for["files"] if (network / name).exists()]
        if network.name == "faster_whisper_large_v3":
            names = list(MEMBERS)
        size = sum((network / name).stat().st_size for name in names) / 1e6
        kept = {key: stands_for[key] for key in ("role", "licence", "attribution")}
        about = {"package": f"stand-in for {stands_for['package']}", "version": "tiny", "megabytes": max(size, 0.1)}
        archives[network.name] = packing.archive(network, *names, **kept, **about).model_dump(mode="json")
    (folder / "archives.yaml").write_text(yaml.safe_dump(archives, sort_keys=False))


def pinned(name: str) -> Path:
    """A pinned archive, fetched into the user's cache when it is not there."""
    return fetch(Archive.model_validate(read_yaml(Path("params/archives.yaml"))[name]))


if __name__ == "__main__":
    make(pinned)
