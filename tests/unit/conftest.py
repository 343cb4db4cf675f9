"""What the tests of the method share: a small model whose weights do something, a small experiment, and its random features."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from made_results import make, write_collected

from agrepa.archives.containers import deb_members
from agrepa.artifacts.features import index, write_shard
from agrepa.artifacts.files import write_json, write_table
from agrepa.audio import files
from agrepa.corpora import manifest as manifests
from agrepa.corpora.queen_resources import Resources
from agrepa.data.dataset import Dataset
from agrepa.model.backbone import build
from agrepa.model.conditioning import Condition, frame_positions
from agrepa.params.model import Model
from agrepa.params.stages import Settings
from agrepa.pipeline.keys import fill, lookup
from agrepa.tokens.codebook import Codebook
from agrepa.tokens.sequence import table_streams

BANDS, VOCABULARIES = 10, [11, 7]
SIZES = {"kind": "dit", "depth": 5, "width": 24, "heads": 4, "ff_mult": 2, "conv_kernel": 5, "dropout": 0.1, "token_width": 8}
SIZES |= {"head_width": 16, "front": {"blocks": 2, "kernel": 3, "expansion": 2}, "preconditioned": False, "tables": "random"}
SIZES |= {"positions": "rotary"}
SMALL_BANDS = 6
SPEECH = "020001P2.SB"  # "You couldn't pilot your way out of a paper bag."
SOUNDS = ("Animal/Horse.wav", "Human/Cough-male.wav", "Music Loops/HumanBeatbox2.mp3")


def condition(lengths, tokens, frames, rate=0.8):
    """A padded condition of clips with ``lengths`` frames and ``tokens`` tokens."""
    ids = torch.full((len(lengths), max(tokens), len(VOCABULARIES)), -1)
    positions = torch.zeros(len(lengths), frames)
    for i, (length, count) in enumerate(zip(lengths, tokens, strict=True)):
        for stream, size in enumerate(VOCABULARIES):
            ids[i, :count, stream] = torch.arange(count) * (i + 2 + stream) % size
        positions[i, :length] = frame_positions(length, 1.0, count, rate)
    return Condition(ids, positions, torch.zeros(len(lengths), frames, BANDS), torch.zeros(len(lengths), dtype=torch.bool))


@pytest.fixture
def make_condition():
    return condition


def stir(module):
    """Give weights to what adaLN-Zero starts at zero: the identity would hide mistakes."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "modulation" in name or "proj_out" in name:
                parameter.normal_(std=0.2)
    return module.eval()


@pytest.fixture
def stirred():
    return stir


@pytest.fixture
def sizes():
    """The settings of ``model`` as data."""
    return dict(SIZES)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return stir(build(Model.model_validate(SIZES), BANDS, VOCABULARIES))


@pytest.fixture
def inputs():
    """x_t, t, condition and mask of three clips of 12, 9 and 5 frames."""
    torch.manual_seed(1)
    lengths = [12, 9, 5]
    mask = torch.arange(12) < torch.tensor(lengths)[:, None]
    x = torch.randn(3, 12, BANDS) * mask.unsqueeze(-1)
    return x, torch.tensor([0.1, 0.5, 0.9]), condition(lengths, [10, 7, 4], 12), mask


@pytest.fixture
def small(demo):
    """The demo experiment with a model and a budget of seconds."""
    data = demo.model_dump(mode="json")
    data["mel"]["bands"] = SMALL_BANDS
    data["model"] |= {"depth": 4, "width": 16, "heads": 2, "token_width": 8, "head_width": 8, "conv_kernel": 3, "dropout": 0.1}
    data["model"]["front"] = {"blocks": 1, "kernel": 3, "expansion": 2}
    data["training"] |= {
        "batch_frames": 120,
        "crop_frames": 24,
        "warmup_steps": 8,
        "arm_steps": 4,
        "log_every": 2,
        "validate_every": 2,
        "checkpoint_every": 2,
        "snapshot_every": 4,
        "lr_warmup_steps": 2,
    }
    for stream, size in {"speech": 9, "audio": 5, "second_speech": 2, "second_audio": 2}.items():
        data["tokens"][stream]["vocabulary"] = size
    return type(demo).model_validate(data)


def settings(of, experiment, **wildcards):
    """The settings object of a stage, filled from an experiment; of its own backbone where no other is named."""
    wildcards = {"kind": experiment.model.kind} | wildcards
    keys = {f.name: fill(f.metadata.get("key", f.name), experiment, wildcards)[0] for f in dataclasses.fields(of)}
    return of(**{name: lookup(experiment, key)[0] for name, key in keys.items()})


@pytest.fixture
def settings_of():
    return settings


@pytest.fixture
def codebooks(small, tmp_path):
    """Files of random codebooks, one for each stream of the small experiment and each of another width."""
    rng, paths = np.random.default_rng(1), []
    for width, stream in enumerate((name for table in table_streams(small.tokens) for name in table), 5):
        centres = rng.standard_normal((getattr(small.tokens, stream).vocabulary, 2 * width)).astype(np.float32)
        paths.append(tmp_path / f"codebook-{stream}.safetensors")
        Codebook(stream, np.zeros(2 * width, np.float32), np.ones(2 * width, np.float32), centres).save(paths[-1])
    return paths


@pytest.fixture
def features(tmp_path):
    """Random features of 24 clips, since training does not care what they mean: paths by argument of a stage.

    ``sources`` are those that every stage takes, ``targets`` and ``features`` the teachers' clip vectors and frames.
    """
    folder = tmp_path / "features"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        domain, split = ("speech", "audio")[i % 2], "train" if i < 16 else "validation"
        listing = "" if split == "train" or domain == "audio" else "unseen" if i == 22 else "main"
        rows.append(
            dict.fromkeys(manifests.COLUMNS, "")
            | {"id": f"clip_{i}", "domain": domain, "split": split, "family": f"f{i % 6}_{split}", "sha256": f"{i}", "start": 0.0}
            | {"seconds": 1.0, "sample_rate": 16000, "listing": listing}
        )
    write_table(folder / "manifest.parquet", pd.DataFrame(rows))
    write_json(folder / "statistics.json", {"mean": [-3.0] * SMALL_BANDS, "std": [2.0] * SMALL_BANDS})
    torch.manual_seed(0)
    made = {("mel", "mel"): [], ("tokens", "tokens"): []}
    made |= {(encoder, kind): [] for encoder in ("whisper", "yamnet") for kind in ("frames", "means")}
    for row in rows:
        clip, frames = row["id"], int(rng.integers(10, 40))
        tokens = torch.randint(0, 9, (frames, 2)) % torch.tensor([9, 4])
        if row["domain"] == "audio":
            tokens[:, 0] = 9 + tokens[:, 0] % 5
        made["mel", "mel"].append((clip, "mel", torch.randn(frames, SMALL_BANDS), 62.5))
        made["tokens", "tokens"].append((clip, "tokens", tokens.int(), 50.0))
        for encoder, output, width, rate in (("whisper", "last", 7, 50.0), ("yamnet", "embedding", 5, 10.0)):
            heard = torch.randn(max(int(frames * rate / 62.5), 1), width)
            made[encoder, "frames"].append((clip, output, heard, rate))
            made[encoder, "means"].append((clip, f"{output}.mean", heard.mean(0, keepdim=True), 0.0))
    indexes = {}
    for (encoder, kind), entries in made.items():
        shard = folder / f"{encoder}-{kind}.safetensors"
        write_shard(shard, encoder, entries)
        indexes[encoder, kind] = shard.with_suffix(".parquet")
        index(Settings(), store=f"{encoder}-{kind}", shards=[shard], out=indexes[encoder, kind])
    sources = {"manifest": folder / "manifest.parquet", "statistics": folder / "statistics.json"}
    return {
        "sources": sources | {name: indexes[name, name] for name in ("mel", "tokens")},
        "targets": [indexes["whisper", "means"], indexes["yamnet", "means"]],
        "features": [indexes["whisper", "frames"], indexes["yamnet", "frames"]],
    }


@pytest.fixture
def dataset(small, settings_of, features):
    """All that a dataset can read, of the small experiment."""
    from agrepa.params.stages import WarmupSettings

    p = settings_of(WarmupSettings, small)
    chosen = {"teachers": p.teachers, "targets": features["targets"], "features": features["features"]}
    return Dataset(p, **features["sources"], **chosen)


@pytest.fixture
def collected(tmp_path):
    """A made-up ``results/demo/scores``."""
    return write_collected(tmp_path / "demo" / "scores")


@pytest.fixture
def written(demo, collected, tmp_path):
    """The folder of the tables made of it."""
    make(demo, collected, tmp_path / "tables")
    return tmp_path / "tables"


@pytest.fixture(scope="session")
def recordings(archive):
    """(wave, rate) of a line of the game and of three of Scratch's sounds."""
    game = deb_members(archive("queen"), lambda name: name.endswith("/queen.1c"))
    found = {"speech": files.read(Resources(*game.values(), "queen")[SPEECH], SPEECH)}
    for name, data in deb_members(archive("scratch"), lambda name: name.endswith(SOUNDS)).items():
        found[name.rsplit("/", 1)[1].split(".")[0]] = files.read(data, name)
    return found


@pytest.fixture(scope="session")
def downloads(demo, archive, tmp_path_factory):
    """``downloads(encoder)`` are all archives of an encoder of the demo, named as the fetch stage names them."""
    folder = tmp_path_factory.mktemp("downloads")

    def link(encoder):
        found = []
        for name in demo.encoders[encoder].archives:
            found.append(folder / f"{name}{archive(name).suffix}")
            if not found[-1].exists():
                found[-1].symlink_to(archive(name))
        return found

    return link
