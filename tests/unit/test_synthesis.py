"""Audio of rows, from a toy backbone and small spectrograms: what it depends on, and what the anchors and the control are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from made_results import settings
from safetensors.torch import save_file

from agrepa.artifacts.features import index, write_shard
from agrepa.artifacts.files import write_json, write_table
from agrepa.audio import files
from agrepa.audio.mel import log_mel
from agrepa.corpora.manifest import COLUMNS
from agrepa.data.collate import Batch, Whole
from agrepa.errors import ArtifactError, CorpusError
from agrepa.evaluation import anchors, prompts, synthesis
from agrepa.model.backbone import build
from agrepa.model.conditioning import Condition
from agrepa.params import Experiment
from agrepa.params.evaluation import Prompt
from agrepa.params.stages import Settings
from agrepa.tokens.sequence import vocabularies

CLIPS = {"queen_a": 6000, "queen_b": 9000, "queen_c": 7000, "ufoai_a": 5000, "ufoai_b": 8000, "ufoai_c": 6500}
UNSEEN = {"queen_y": 6600, "queen_z": 5200}  # of a speaker that training never hears
TRAIN = {"queen_short": 4000, "queen_long": 12000}  # of the speaker of queen_a and queen_b


@pytest.fixture
def small(demo: Experiment) -> Experiment:
    """A tiny model, three clips a domain, three steps of sampling from noise and two of Griffin-Lim."""
    evaluation = demo.evaluation.model_copy(
        update={
            **dict.fromkeys(("speech_clips", "audio_clips"), 3),
            "unseen_clips": 0,
            "sampling": demo.evaluation.sampling.model_copy(update={"steps": 3, "temperature": 0.3}),
            "vocoder": demo.evaluation.vocoder.model_copy(update={"iterations": 2}),
        }
    )
    model = demo.model.model_copy(update={"depth": 2, "width": 16, "heads": 2, "token_width": 8, "conv_kernel": 3})
    return demo.model_copy(update={"evaluation": evaluation, "model": model})


@pytest.fixture
def inputs(tmp_path: Path, small: Experiment) -> dict[str, Path]:
    """Recordings, their manifest, and what is stored of them."""
    rng, rows, waves = np.random.default_rng(0), [], {}
    for clip, samples in (CLIPS | UNSEEN | TRAIN).items():
        path = tmp_path / ("clips" if clip in CLIPS else "others") / f"{clip}.flac"
        files.write_flac(path, (0.1 * rng.standard_normal(samples)).astype(np.float32), small.corpora.sample_rate)
        domain, digest = "speech" if clip.startswith("queen") else "audio", hashlib.sha256(path.read_bytes()).hexdigest()
        split, speaker = "train" if clip in TRAIN else "test", "ada" if clip in ("queen_a", "queen_b", *TRAIN) else clip
        listing = "unseen" if clip in UNSEEN else "main" if domain == "speech" and clip in CLIPS else ""
        place = {"clip": str(path), "split": split, "speaker": speaker * (domain == "speech"), "listing": listing, "prompt": ""}
        rows.append({"id": clip, "domain": domain, "family": clip, "sha256": digest} | place)
        waves[clip] = torch.from_numpy(files.read(path)[0])
    write_table(tmp_path / "manifest.parquet", pd.DataFrame(rows).reindex(columns=list(COLUMNS)))
    write_json(tmp_path / "statistics.json", {"mean": [-6.0] * small.mel.bands, "std": [2.0] * small.mel.bands})
    rate = small.corpora.sample_rate / small.mel.hop

    def mels() -> Iterator[tuple[str, str, torch.Tensor, float]]:
        for clip, wave in waves.items():
            yield clip, "mel", log_mel(wave[None], small.mel, small.corpora.sample_rate)[0], rate

    def tokens() -> Iterator[tuple[str, str, torch.Tensor, float]]:
        for clip, wave in waves.items():
            yield clip, "tokens", torch.from_numpy(rng.integers(0, 100, (len(wave) // 320, 2)).astype(np.int32)), 50.0

    places = {"manifest": tmp_path / "manifest.parquet", "statistics": tmp_path / "statistics.json"}
    for name, features in (("mel", mels()), ("tokens", tokens())):
        write_shard(tmp_path / f"{name}.safetensors", name, features)
        places[name] = tmp_path / f"{name}.parquet"
        index(Settings(), store="mel", shards=[tmp_path / f"{name}.safetensors"], out=places[name])
    torch.manual_seed(0)
    backbone = build(small.model, small.mel.bands, vocabularies(small.tokens), noise_scale=0.5)
    weights = {f"ema.backbone.{name}": 0.1 * torch.randn_like(value) for name, value in backbone.named_parameters()}
    save_file(weights | {"ema.supervision.heads.speech_1.weight": torch.zeros(1)}, tmp_path / "checkpoint.safetensors")
    places["checkpoint"] = tmp_path / "checkpoint.safetensors"
    return places


def synthesize(p: Experiment, inputs: dict[str, Path], row: str, seed: str, out: Path) -> dict[str, bytes]:
    synthesis.run(settings(p, "synthesize", row=row, seed=seed), row=row, seed=seed, archives=[], out=out, **inputs)
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.iterdir())}


def test_noise_is_fixed_by_seed_and_clip_however_clips_are_batched(
    small: Experiment, inputs: dict[str, Path], tmp_path: Path
) -> None:
    one = synthesize(small, inputs, "base", "0", tmp_path / "one")
    assert sorted(one) == sorted(CLIPS)
    again = synthesize(small, inputs, "base", "0", tmp_path / "again")
    other = synthesize(small, inputs, "base", "1", tmp_path / "other")
    assert one == again and all(one[clip] != other[clip] for clip in CLIPS)
    # One clip a batch: no padding, no neighbours; only rounding may differ.
    alone = small.model_copy(update={"training": small.training.model_copy(update={"batch_frames": 1})})
    synthesize(alone, inputs, "base", "0", tmp_path / "alone")
    for clip in CLIPS:
        both = (files.read(tmp_path / name / f"{clip}.flac")[0] for name in ("one", "alone"))
        assert np.allclose(*both, atol=2e-3)


def test_the_control_is_the_same_model_on_other_tokens(small: Experiment, inputs: dict[str, Path], tmp_path: Path) -> None:
    own = synthesize(small, inputs, "base", "0", tmp_path / "base")
    control = synthesize(small, inputs, "control", "0", tmp_path / "control")
    assert sorted(control) == sorted(own) and all(own[clip] != control[clip] for clip in CLIPS)


def test_unseen_clips_are_made_beside_the_others_and_take_their_foreign_tokens_from_each_other(
    small: Experiment, inputs: dict[str, Path], tmp_path: Path
) -> None:
    more = small.model_copy(update={"evaluation": small.evaluation.model_copy(update={"unseen_clips": 2})})
    for row in ("base", "control"):
        without = synthesize(small, inputs, row, "0", tmp_path / row)
        both = synthesize(more, inputs, row, "0", tmp_path / f"{row}-unseen")
        assert {clip: both[clip] for clip in CLIPS} == without, "the main list does not change with the unseen one"
        assert sorted(both) == sorted([*CLIPS, *UNSEEN])
    anchor = make_anchor(more, inputs, "ground_truth", tmp_path / "truth")
    assert sorted(anchor) == sorted([*CLIPS, *UNSEEN])


def with_prompt(p: Experiment, seconds: float | None) -> Experiment:
    prompt = None if seconds is None else Prompt(seconds=seconds)
    return p.model_copy(update={"evaluation": p.evaluation.model_copy(update={"prompt": prompt})})


def test_speech_goes_on_from_its_speakers_prompt_and_only_what_follows_is_kept(
    small: Experiment, inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = synthesize(with_prompt(small, None), inputs, "base", "0", tmp_path / "alone")
    assert "no prompt" not in capsys.readouterr().err
    prompted = synthesize(with_prompt(small, 0.6), inputs, "base", "0", tmp_path / "prompted")
    assert "base speech: 1 of 3 utterances have no prompt" in capsys.readouterr().err
    assert {clip for clip in CLIPS if alone[clip] != prompted[clip]} == {"queen_a", "queen_b"}
    for clip in CLIPS:
        lengths = {len(files.read(tmp_path / name / f"{clip}.flac")[0]) for name in ("alone", "prompted")}
        assert len(lengths) == 1
    other = synthesize(with_prompt(small, 1.0), inputs, "base", "0", tmp_path / "other")
    assert other["queen_a"] != prompted["queen_a"] and other["queen_c"] == prompted["queen_c"]


def test_guidance_leaves_out_the_tokens_and_keeps_the_reference(small: Experiment) -> None:
    seen = []

    def model(x: torch.Tensor, t: torch.Tensor, condition: Condition, mask: torch.Tensor) -> torch.Tensor:
        seen.append(condition)
        return torch.zeros_like(x)

    mel, reference = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    condition = Condition(torch.zeros(2, 1, 2, dtype=torch.long), torch.zeros(2, 3), reference, torch.tensor([False, False]))
    whole = Whole(["a", "b"], ["speech"] * 2)
    batch = Batch(whole.ids, mel, torch.ones(2, 3, dtype=torch.bool), condition, torch.zeros(2), {}, {}, whole)
    synthesis.sample(cast(Any, model), batch, mel, small.evaluation.sampling)
    assert len(seen) == 6
    assert all(torch.equal(c.reference, reference) for c in seen)
    assert [bool(c.dropped.all()) for c in seen] == [False, True] * 3


def test_a_row_that_counts_points_takes_one_step_less(small: Experiment, inputs: dict[str, Path], tmp_path: Path) -> None:
    def steps(count: int) -> Experiment:
        sampling = small.evaluation.sampling.model_copy(update={"steps": count})
        return small.model_copy(update={"evaluation": small.evaluation.model_copy(update={"sampling": sampling})})

    points = synthesize(steps(3), inputs, "released_steps", "0", tmp_path / "points")
    assert points == synthesize(steps(2), inputs, "base", "0", tmp_path / "two")
    assert points != synthesize(steps(3), inputs, "base", "0", tmp_path / "three")


def test_a_prompt_is_the_longest_utterance_that_is_short_enough_or_the_start_of_the_shortest() -> None:
    rows = [
        ("a", "train", "speech", "ada"),
        ("b", "train", "speech", "ada"),
        ("c", "train", "speech", "ada"),
        ("d", "test", "speech", "ada"),
        ("e", "test", "speech", "eve"),
        ("f", "test", "speech", ""),
        ("g", "train", "audio", ""),
        ("h", "validation", "speech", "eve"),
    ]
    table = pd.DataFrame(rows, columns=["id", "split", "domain", "speaker"]).assign(prompt="").set_index("id", drop=False)
    frames = {"a": 30, "b": 30, "c": 50, "d": 20, "e": 20, "f": 9, "g": 9, "h": 9}
    assert prompts.choose(table, frames, ["d", "e", "f"], 40) == {"d": ("a", 30)}
    assert prompts.choose(table, frames, ["d"], 50) == {"d": ("c", 50)}
    assert prompts.choose(table, frames, ["d"], 20) == {"d": ("a", 20)}


def test_an_unseen_speaker_is_prompted_by_another_utterance_of_the_same_split() -> None:
    rows = [("a", "train", "ada"), ("b", "test", "eve"), ("c", "test", "eve"), ("d", "validation", "eve"), ("e", "test", "ida")]
    table = pd.DataFrame(rows, columns=["id", "split", "speaker"]).assign(domain="speech", prompt="")
    table = table.set_index("id", drop=False)
    frames = {"a": 30, "b": 20, "c": 25, "d": 40, "e": 9}
    assert prompts.choose(table, frames, ["b", "c", "e"], 40) == {"b": ("c", 25), "c": ("b", 20)}


def test_a_prompt_that_the_manifest_names_goes_before_any_other() -> None:
    rows = [("a", "train", ""), ("b", "test", "c"), ("c", "test", ""), ("d", "test", "")]
    table = pd.DataFrame(rows, columns=["id", "split", "prompt"]).assign(domain="speech", speaker="ada")
    table = table.set_index("id", drop=False)
    frames = {"a": 30, "b": 20, "c": 25, "d": 40}
    assert prompts.choose(table, frames, ["b", "d"], 40) == {"b": ("c", 25), "d": ("a", 30)}
    assert prompts.choose(table, frames, ["b"], 10) == {"b": ("c", 10)}


def test_foreign_tokens_come_from_a_clip_of_near_length_and_never_from_its_own() -> None:
    lengths = {"a": 5, "b": 1, "c": 3, "d": 9, "e": 3}
    found = synthesis.foreign_tokens(list(lengths), lengths)
    assert found == {"b": "c", "c": "e", "e": "a", "a": "d", "d": "b"}


def test_a_checkpoint_of_another_model_is_refused(small: Experiment, inputs: dict[str, Path], tmp_path: Path) -> None:
    deeper = small.model_copy(update={"model": small.model.model_copy(update={"depth": 3})})
    with pytest.raises(ArtifactError, match="is from other params"):
        synthesize(deeper, inputs, "base", "0", tmp_path / "out")


def make_anchor(p: Experiment, inputs: dict[str, Path], row: str, out: Path) -> dict[str, bytes]:
    given: dict[str, Any] = {"manifest": inputs["manifest"], "mel": inputs["mel"], "archives": [], "out": out}
    anchors.run(settings(p, "anchor", row=row), row=row, **given)
    return contents(out)


def test_ground_truth_is_the_recordings_and_copy_synthesis_sounds_of_their_length(
    small: Experiment, inputs: dict[str, Path], tmp_path: Path
) -> None:
    assert make_anchor(small, inputs, "ground_truth", tmp_path / "truth") == contents(tmp_path / "clips")
    copies = make_anchor(small, inputs, "copy_synthesis", tmp_path / "copies")
    assert sorted(copies) == sorted(CLIPS)
    for clip, samples in CLIPS.items():
        wave, _ = files.read(tmp_path / "copies" / f"{clip}.flac", expected_rate=small.corpora.sample_rate)
        assert abs(len(wave) - samples) < small.mel.hop and wave.std() == pytest.approx(0.1, rel=0.5)


def test_a_recording_that_has_changed_or_a_row_that_is_no_anchor_is_refused(
    small: Experiment, inputs: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="'base' is no anchor: choose from ground_truth, copy_synthesis"):
        make_anchor(small, inputs, "base", tmp_path / "base")
    files.write_flac(tmp_path / "clips" / "queen_b.flac", np.zeros(9000, np.float32), small.corpora.sample_rate)
    with pytest.raises(CorpusError, match=r"queen_b\.flac"):
        make_anchor(small, inputs, "ground_truth", tmp_path / "truth")
