"""LibriSpeech in small: the same files as an unpacked tree and as archives, and what is said about what is missing."""

from __future__ import annotations

import hashlib
import io
import itertools
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prepared import prepare
from published_corpora import flac, write_librispeech, write_pairs

from agrepa.archives import fetch
from agrepa.audio import files
from agrepa.corpora import attribution, librispeech, manifest
from agrepa.corpora.clip import Clip
from agrepa.errors import CorpusError, FetchError
from agrepa.params import Experiment
from agrepa.params.archives import Archive
from agrepa.params.corpora import Corpora, HeldOut, Source, Split
from agrepa.params.stages import AttributionSettings, FetchSettings

SPEAKERS = """;ID  |SEX| SUBSET           |MINUTES| NAME
14   | F | train-clean-100  | 25.03 | Kristin LeMoine
61   | M | dev-clean        | 8.10  | Paul-Gabriel Wiener
84   | F | test-clean       | 8.02  | Christie | Nowak
85   | M | test-clean       | 8.02  | Reynard Fox
"""
SPOKEN = {"train-clean-100": ("14",), "dev-clean": ("61",), "test-clean": ("84", "85")}
WORDS = ["ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN", "ELEVEN", "TWELVE"]
SUBSETS = {"train": ["train-clean-100"], "validation": ["dev-clean"], "test": ["test-clean"]}


def tone(seconds: float, number: int) -> bytes:
    return flac(0.2 * np.sin(2 * np.pi * (200 + 10 * number) * np.arange(round(16000 * seconds)) / 16000), 16000)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three utterances of each speaker, of 1.0, 1.1, … s, and the list of speakers."""
    number = itertools.count()
    spoken = {
        subset: {
            speaker: [(f"IT'S {WORDS[n]}", tone(1 + n / 10, n)) for n in itertools.islice(number, 3)] for speaker in speakers
        }
        for subset, speakers in SPOKEN.items()
    }
    write_librispeech(tmp_path / "LibriSpeech", spoken, SPEAKERS)
    return tmp_path / "LibriSpeech"


def tars(tree: Path) -> list[Path]:
    """The archive of each subset as ``fetch`` leaves it, without its compression."""
    found = []
    for subset in SPOKEN:
        found.append(tree.parent / f"libri_{subset.replace('-', '_')}.tar")
        with tarfile.open(found[-1], "w") as archive:
            for path in (tree / "SPEAKERS.TXT", tree / subset):
                archive.add(path, f"LibriSpeech/{path.relative_to(tree)}")
    return found


def corpora(demo: Experiment, **keys: object) -> Corpora:
    source = Source.model_validate({"kind": "librispeech", "subsets": SUBSETS} | keys)
    held_out = HeldOut(speech=None, audio=0, unseen=0)
    limits = {"train": Split(speech=None, audio=0), "validation": held_out, "test": held_out}
    return demo.corpora.model_copy(update={"sources": {"libri": source}} | limits)


def listed(settings: Corpora, archives: dict[str, Path] | None = None) -> dict[str, Clip]:
    found = librispeech.clips(archives or {}, settings, settings.sources["libri"])
    return {clip.id: clip for clip in found}


def test_a_tree_becomes_a_manifest(demo: Experiment, tree: Path, tmp_path: Path) -> None:
    table = manifest.read(prepare(corpora(demo, root=str(tree)), [], tmp_path)).set_index("id", drop=False)
    assert table.split.value_counts().to_dict() == {"train": 3, "validation": 3, "test": 6}
    (row,) = table.loc[["libri_84_7_0001"]].itertuples()
    assert (row.text, row.speaker, row.family, row.listing) == ("IT'S EIGHT", "libri_84", "libri_84", "main")
    assert row.attribution == "LibriSpeech, read by Christie | Nowak for LibriVox"
    assert row.licence == "CC BY 4.0"
    assert row.seconds == pytest.approx(1.7, abs=0.02)
    source = tree / "test-clean" / "84" / "7" / "84-7-0001.flac"
    made, original = manifest.wave(row, 16000), files.read(source)[0][: len(manifest.wave(row, 16000))]
    assert np.abs(made - original)[500:-500].max() < 2e-3
    assert (tmp_path / "candidates.unusable.csv").read_text() == "source,file,problem\n"
    made_of = AttributionSettings(
        archives=demo.archives, sources=corpora(demo, root=str(tree)).sources, vocoder=demo.evaluation.vocoder
    )
    attribution.run(made_of, manifest=tmp_path / "manifest.parquet", out=tmp_path / "ATTRIBUTION.md")
    credit = "| libri | librispeech, from a folder | CC BY 4.0 | 4 authors, named in the manifest | 3 clips, 0.1 min |"
    assert credit in (tmp_path / "ATTRIBUTION.md").read_text()
    assert librispeech.listed(corpora(demo, root=str(tree)).sources["libri"]) == [str(tree / subset) for subset in SPOKEN]


def test_archives_give_what_the_tree_gives(demo: Experiment, tree: Path, tmp_path: Path) -> None:
    paths = tars(tree)
    packed = corpora(demo, archives=[path.stem for path in paths])
    table = manifest.read(prepare(packed, paths, tmp_path / "packed"))
    plain = manifest.read(prepare(corpora(demo, root=str(tree)), [], tmp_path / "plain"))
    assert sorted(table.sha256) == sorted(plain.sha256)
    assert sorted(zip(table.text, table.speaker, table.split, strict=True)) == sorted(
        zip(plain.text, plain.speaker, plain.split, strict=True)
    )
    assert table.set_index("text").id["IT'S EIGHT"] == "libri_test_clean_84_7_0001"
    assert table.set_index("text").corpus["IT'S EIGHT"] == "libri_test_clean"


def test_two_splits_share_a_subset_by_speaker(demo: Experiment, tree: Path) -> None:
    shared = corpora(demo, root=str(tree), subsets=SUBSETS | {"validation": ["test-clean", "dev-clean"]})
    splits = {clip.speaker: clip.split for clip in listed(shared).values()}
    assert splits["libri_14"] == "train"
    assert splits["libri_61"] == "validation"
    assert {splits["libri_84"], splits["libri_85"]} <= {"validation", "test"}
    assert len({(clip.speaker, clip.split) for clip in listed(shared).values()}) == 4


def test_pairs_narrow_the_test_split_and_name_prompts(demo: Experiment, tree: Path, tmp_path: Path) -> None:
    named = write_pairs(
        tmp_path / "pairs.lst", ("84-7-0001", "84-7-0000"), ("85-7-0000", "85-7-0001"), ("85-7-0001", "85-7-0002")
    )
    settings = corpora(demo, root=str(tree), pairs=named)
    table = manifest.read(prepare(settings, [], tmp_path)).set_index("id", drop=False)
    test = table[table.split == "test"]
    assert dict(zip(test.id, zip(test.listing, test.prompt, strict=True), strict=True)) == {
        "libri_84_7_0000": ("main", "libri_84_7_0001"),
        "libri_84_7_0001": ("prompt", ""),
        "libri_85_7_0000": ("prompt", ""),
        "libri_85_7_0001": ("main", "libri_85_7_0000"),
        "libri_85_7_0002": ("main", "libri_85_7_0001"),
    }
    assert test.text["libri_84_7_0000"] == "IT'S SEVEN"
    assert sorted(manifest.evaluation_list(table, "test", "speech", 3)) == [
        "libri_84_7_0000",
        "libri_85_7_0001",
        "libri_85_7_0002",
    ]
    with pytest.raises(CorpusError, match="4 speech clips of the test split are asked for and it has 3"):
        manifest.evaluation_list(table, "test", "speech", 4)
    assert named in librispeech.listed(settings.sources["libri"])


def test_a_target_that_is_not_evaluated_may_still_prompt(demo: Experiment, tree: Path, tmp_path: Path) -> None:
    named = write_pairs(tmp_path / "pairs.lst", ("84-7-0001", "84-7-0000"), ("84-7-0000", "84-7-0001"))
    one = HeldOut(speech=1, audio=0, unseen=0)
    settings = corpora(demo, root=str(tree), pairs=named).model_copy(update={"test": one})
    table = manifest.read(prepare(settings, [], tmp_path))
    test = table[table.split == "test"]
    assert test.listing.tolist() == ["main", "prompt"]
    assert test.prompt.tolist() == [test.id.iloc[1], ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("84-7-0001\t1.7\tA.\t84-9-0000\t1.8\tB.\n", r"1 of 2 utterances are not in the test split: .*:\n84-9-0000$"),
        (
            "14-7-0001\t1.7\tA.\t84-7-0000\t1.8\tB.\n",
            r"not in the test split: correct subsets.test of the source, .*\n14-7-0001$",
        ),
        ("84-7-0001\t1.7\tA.\t84-7-0000\n", r"1 lines cannot be used:\nline 1: has 4 fields between tabs, not 6"),
        ("84-7-0001\tlong\tA.\t84-7-0000\t1.8\tB.\n", r"line 1: 'long' and '1.8' are not both numbers of seconds"),
        ("84-7-0000\t1.7\tA.\t84-7-0000\t1.8\tB.\n", r"line 1: 84-7-0000 would prompt itself"),
        ("84-7-0001\t1\tA.\t84-7-0000\t1\tB.\n84-7-0002\t1\tC.\t84-7-0000\t1\tB.\n", r"line 2: 84-7-0000 has a prompt already"),
        ("\n", r"lists no pairs: is it the right file\?"),
        (None, r"pairs.lst: no such file: pairs in corpora.sources"),
    ],
)
def test_a_list_of_pairs_that_cannot_be_used(
    content: str | None, message: str, demo: Experiment, tree: Path, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "pairs.lst").write_text(content)
    with pytest.raises(CorpusError, match=message):
        listed(corpora(demo, root=str(tree), pairs=str(tmp_path / "pairs.lst")))


def test_a_reference_of_no_usable_length_is_an_error(demo: Experiment, tree: Path, tmp_path: Path) -> None:
    named = write_pairs(tmp_path / "pairs.lst", ("84-7-0002", "84-7-0000"))
    short = corpora(demo, root=str(tree), pairs=named).model_copy(update={"max_seconds": 1.75})
    with pytest.raises(CorpusError, match=r"1 references cannot prompt anything: .* 0.4-1.75 s: .*\n84-7-0002: is of 1.8 s$"):
        listed(short)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", r"84/7/84-7-0001.flac: its recording is missing, .*84-7.trans.txt has its transcript"),
        ("wordless", r"84/7/84-7-0001.flac: has no transcript in 84-7.trans.txt"),
        ("header", r"84/7/84-7-0001.flac: 84-7-0001.flac: is not a FLAC, or cut off within its header"),
        ("samples", r"84/7/84-7-0001.flac: .*(truncated|cannot be decoded)"),
    ],
)
def test_what_cannot_be_read_is_counted_and_bounded(
    damage: str, reason: str, demo: Experiment, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tree / "test-clean" / "84" / "7" / "84-7-0001.flac"
    texts = path.with_name("84-7.trans.txt")
    if damage == "missing":
        path.unlink()
    elif damage == "wordless":
        texts.write_text("".join(line for line in texts.read_text().splitlines(True) if "0001" not in line))
    else:
        path.write_bytes(path.read_bytes()[: 30 if damage == "header" else 900])
    table = manifest.read(prepare(corpora(demo, root=str(tree), tolerate=0.1), [], tmp_path / "within"))
    assert len(table) == 11
    assert "libri: 1 of 12 clips are missing or cannot be read; " in capsys.readouterr().err
    if damage == "samples":
        decoded = pd.concat([pd.read_parquet(tmp_path / "within" / "clips" / f"{k}.parquet") for k in range(2)])
        broken = decoded.set_index("id").problem
        assert broken[broken != ""].index.tolist() == ["libri_84_7_0001"]
    else:
        assert ",test-clean/84/7/84-7-0001.flac," in (tmp_path / "within" / "candidates.unusable.csv").read_text()
    with pytest.raises(CorpusError, match=rf"libri: 1 of 12 clips .*tolerate allows 0.05 of them: .*\n.*{reason}"):
        prepare(corpora(demo, root=str(tree), tolerate=0.05), [], tmp_path / "above")


def test_clips_that_fail_in_different_shards_are_counted_together(demo: Experiment, tree: Path, tmp_path: Path) -> None:
    for path in sorted(tree.glob("*/*/7/*-0001.flac")):
        path.write_bytes(path.read_bytes()[:900])
    assert len(manifest.read(prepare(corpora(demo, root=str(tree), tolerate=0.34), [], tmp_path / "within", shards=12))) == 8
    # Of no shard is it too much by itself: what stops is the manifest.
    with pytest.raises(CorpusError, match=r"libri: 4 of 12 clips are missing or cannot be read, .*allows 0.3 of them"):
        prepare(corpora(demo, root=str(tree), tolerate=0.3), [], tmp_path / "above", shards=12)
    assert len(list((tmp_path / "above" / "clips").glob("*.parquet"))) == 12


def test_what_is_not_there_or_damaged_is_named(demo: Experiment, tree: Path) -> None:
    with pytest.raises(CorpusError, match=r"libri has no recordings of test-other: .*there are dev-clean, test-clean, train"):
        listed(corpora(demo, root=str(tree), subsets=SUBSETS | {"test": ["test-clean", "test-other"]}))
    with pytest.raises(CorpusError, match=r"holds nothing up to bandwidth_hz 9000"):
        listed(corpora(demo, root=str(tree)).model_copy(update={"bandwidth_hz": 9000.0}))
    (path,) = [path for path in tars(tree) if "dev" in path.name]
    settings = corpora(demo, archives=["libri_dev_clean"], subsets={"validation": ["dev-clean"]})
    with pytest.raises(CorpusError, match="needs archive libri_dev_clean: run agrepa fetch"):
        listed(settings)
    assert len(listed(settings, {"libri_dev_clean": path})) == 3
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    # Within a recording, between two of them, and within a header.
    for end in (last.offset_data + 100, last.offset, last.offset + 100):
        path.write_bytes(whole[:end])
        with pytest.raises(CorpusError, match=r"libri_dev_clean.tar is damaged .*fetch it again"):
            listed(settings, {"libri_dev_clean": path})


@pytest.mark.parametrize("name", ["../outside.flac", "/outside.flac", "LibriSpeech/dev-clean/61/7/61-7-0000.flac"])
def test_an_archive_that_leads_outside_or_has_links_is_refused(name: str, demo: Experiment, tmp_path: Path) -> None:
    path = tmp_path / "libri_dev_clean.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(name)
        if name.startswith("LibriSpeech"):
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member, io.BytesIO())
    settings = corpora(demo, archives=["libri_dev_clean"], subsets={"validation": ["dev-clean"]})
    with pytest.raises(CorpusError, match=r"leads out of the archive's own folder: refused|is a link or a device"):
        listed(settings, {"libri_dev_clean": path})


def test_an_archive_is_checked_by_its_published_md5_and_unpacked_to_one_file(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path / "cache"))
    packed = tmp_path / "dev-clean.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(tree / "dev-clean", "LibriSpeech/dev-clean")
    about = {"kind": "tar", "package": "LibriSpeech dev-clean", "version": "12", "file": "dev-clean.tar.gz", "megabytes": 0.1}
    about |= {"role": "speech", "licence": "CC BY 4.0", "attribution": "LibriSpeech", "address": packed.as_uri()}
    md5 = hashlib.md5(packed.read_bytes(), usedforsecurity=False).hexdigest()
    out = tmp_path / "downloads" / "libri_dev_clean.tar"
    fetch.run(FetchSettings(archive=Archive.model_validate(about | {"md5": md5})), archive="libri_dev_clean", out=out)
    with tarfile.open(out, "r:") as archive:
        assert "LibriSpeech/dev-clean/61/7/61-7-0002.flac" in archive.getnames()
    (tmp_path / "cache" / "dev-clean.tar.gz").unlink()
    wrong = FetchSettings(archive=Archive.model_validate(about | {"md5": "0" * 32}))
    with pytest.raises(FetchError, match=rf"is not the pinned file: expected md5 0{{32}}, found {md5}. It was deleted"):
        fetch.run(wrong, archive="libri_dev_clean", out=out)
    packed.write_bytes(b"no archive")
    named = about | {"md5": hashlib.md5(b"no archive", usedforsecurity=False).hexdigest()}
    with pytest.raises(FetchError, match="is the pinned file, and no archive in gzip"):
        fetch.run(FetchSettings(archive=Archive.model_validate(named)), archive="libri_dev_clean", out=out)
