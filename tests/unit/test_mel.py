"""The mel front end against the published formulas, and its two stages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from agrepa import stages
from agrepa.artifacts import Features, read_json, write_features, write_table
from agrepa.audio import files, mel_features, mel_statistics
from agrepa.audio.mel import filter_bank, frames, log_mel
from agrepa.corpora.manifest import COLUMNS
from agrepa.errors import ArtifactError, AudioError
from agrepa.params import Mel

SAME = Mel(n_fft=1024, hop=256, bands=80, f_min=0, f_max=8000, scale="slaney", norm="slaney", padding="same", floor=1e-5)
CENTER = SAME.model_copy(update={"padding": "center"})


def noise(samples, clips=1):
    return torch.randn(clips, samples, generator=torch.Generator().manual_seed(0)) * 0.1


def test_same_padding_is_hifigans_formula():
    """log(max(1e-5, mel sqrt(re^2 + im^2 + 1e-9))) of the wave mirrored by (n_fft - hop) / 2 at each end."""
    wave = noise(5000)[0].numpy().astype(np.float64)
    padded = np.pad(wave, 384, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    expected = []
    for start in range(0, len(padded) - 1023, 256):
        spectrum = np.fft.rfft(padded[start : start + 1024] * window)
        magnitude = np.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
        expected.append(np.log(np.maximum(magnitude @ filter_bank(SAME, 22050).numpy(), 1e-5)))
    found = log_mel(noise(5000), SAME, 22050)[0]
    assert found.shape == (19, 80)
    np.testing.assert_allclose(found.numpy(), np.stack(expected), atol=1e-4)


def test_center_padding_is_voco_s_formula():
    transform = torchaudio.transforms.MelSpectrogram(
        16000, 1024, hop_length=256, n_mels=80, power=1, f_max=8000.0, norm="slaney", mel_scale="slaney", center=True
    )
    expected = transform(noise(5000)).clamp(min=1e-5).log().transpose(1, 2)
    torch.testing.assert_close(log_mel(noise(5000), CENTER, 16000), expected)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_bands_peak_at_evenly_spaced_mels(scale):
    bank = filter_bank(SAME.model_copy(update={"scale": scale, "norm": None, "n_fft": 16384}), 16000)
    peaks = bank.argmax(0) * 16000 / 16384
    if scale == "htk":
        mels = 2595 * torch.log10(1 + peaks / 700)
    else:
        mels = torch.where(peaks < 1000, peaks * 3 / 200, 15 + 27 * torch.log(peaks.clamp(min=1) / 1000) / np.log(6.4))
    steps = mels.diff()
    assert (steps > 0).all() and (steps / steps.mean() - 1).abs().max() < 0.1


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1024, 9000), hop=st.sampled_from([100, 256, 441]), padding=st.sampled_from(["same", "center"]))
def test_number_of_frames(samples, hop, padding):
    mel = SAME.model_copy(update={"hop": hop, "padding": padding})
    assert log_mel(noise(samples), mel, 16000).shape[1] == frames(samples, mel) == samples // hop + (padding == "center")


@pytest.mark.parametrize(("mel", "offset"), [(SAME, 0.5), (CENTER, 0)])
def test_frames_lie_where_the_docstring_says(mel, offset):
    click = torch.zeros(1, 16000)
    click[0, int((20 + offset) * 256)] = 1.0
    energy = log_mel(click, mel, 16000)[0].mean(1)
    assert energy.argmax() == 20
    torch.testing.assert_close(energy[19], energy[21], rtol=1e-3, atol=1e-3)


def test_clips_of_a_batch_do_not_mix():
    waves = noise(4096, clips=3)
    together = log_mel(waves, SAME, 16000)
    for i in range(3):
        torch.testing.assert_close(log_mel(waves[i : i + 1], SAME, 16000)[0], together[i])


def test_silence_is_the_floor():
    silence = log_mel(torch.zeros(1, 4096), SAME, 16000)
    torch.testing.assert_close(silence, torch.full_like(silence, float(np.log(1e-5))))


@pytest.mark.parametrize(("mel", "edge"), [(SAME, 384), (CENTER, 512)])
def test_a_wave_too_short_to_be_mirrored_is_refused(mel, edge):
    with pytest.raises(AudioError, match=f"a clip of {edge} samples is too short .* mirrors {edge} at its end"):
        log_mel(torch.zeros(1, edge), mel, 16000)
    assert log_mel(torch.zeros(1, edge + 1), mel, 16000).shape[1] >= 1


@pytest.fixture
def corpus(tmp_path):
    """A manifest of three clips of noise, at 16 kHz; the last one is not for training."""
    ids = ["b_1", "a_2", "c_3"]
    table = pd.DataFrame({column: [kind()] * 3 for column, kind in COLUMNS.items()})
    table["id"], table["split"] = ids, ["train", "train", "test"]
    write_table(tmp_path / "manifest.parquet", table)
    for k, clip in enumerate(ids):
        files.write_flac(tmp_path / "clips" / f"{clip}.flac", noise(4000 + 1000 * k)[0].numpy() * (k + 1), 16000)
    return tmp_path


@pytest.fixture
def view(demo):
    """The demo with this mel, as the stage sees it."""

    def make(shards):
        return stages.View(demo.model_copy(update={"mel": SAME, "shards": shards}), stages.keys("mel", {}), "mel")

    return make


def test_mel_stage(corpus, view):
    outs = [corpus / f"{k}.safetensors" for k in range(2)]
    for k, out in enumerate(outs):
        mel_features.run(view(2), str(k), corpus / "manifest.parquet", corpus / "clips", out)
    assert pd.read_parquet(corpus / "0.parquet")["clip"].tolist() == ["b_1", "c_3"]
    store = Features(outs, "mel")
    wave, _ = files.read(corpus / "clips" / "a_2.flac")
    torch.testing.assert_close(store["a_2"], log_mel(torch.from_numpy(wave)[None], SAME, 16000)[0])
    assert store.rate["a_2"] == 62.5 and store["a_2"].dtype == torch.float32


def test_mel_stage_names_the_clip(corpus, view):
    files.write_flac(corpus / "clips" / "b_1.flac", np.zeros(300, np.float32), 16000)
    with pytest.raises(AudioError, match=r"b_1\.flac: a clip of 300 samples is too short"):
        mel_features.run(view(1), "0", corpus / "manifest.parquet", corpus / "clips", corpus / "0.safetensors")
    (corpus / "clips" / "b_1.flac").unlink()
    with pytest.raises(AudioError, match=r"b_1\.flac"):
        mel_features.run(view(1), "0", corpus / "manifest.parquet", corpus / "clips", corpus / "0.safetensors")


def test_statistics_are_those_of_all_training_values_however_they_are_sharded(corpus, view):
    results = []
    for shards in (1, 2):
        outs = [corpus / f"{shards}_{k}.safetensors" for k in range(shards)]
        for k, out in enumerate(outs):
            mel_features.run(view(shards), str(k), corpus / "manifest.parquet", corpus / "clips", out)
        mel_statistics.run(None, corpus / "manifest.parquet", outs, corpus / "statistics.json")
        results.append((corpus / "statistics.json").read_bytes())
        store = Features(outs, "mel")
    values = torch.cat([store["b_1"], store["a_2"]]).double()
    found = read_json(corpus / "statistics.json")
    assert results[0] == results[1]
    assert found["clips"] == 2 and found["frames"] == len(values) == 15 + 19
    assert found["mean"] == pytest.approx(values.mean().item(), rel=1e-12)
    assert found["std"] == pytest.approx(values.std(correction=0).item(), rel=1e-12)


def test_statistics_are_stable_far_from_zero(corpus):
    values = {"b_1": torch.full((50, 4), 1e4), "a_2": torch.full((50, 4), 1e4) + 0.5}
    write_features(corpus / "0.safetensors", [(clip, "mel", tensor, 62.5) for clip, tensor in values.items()])
    mel_statistics.run(None, corpus / "manifest.parquet", [corpus / "0.safetensors"], corpus / "s.json")
    assert read_json(corpus / "s.json") == {"mean": 1e4 + 0.25, "std": 0.25, "frames": 100, "clips": 2}


def test_statistics_refuse_silence_and_missing_clips(corpus):
    write_features(corpus / "0.safetensors", [("b_1", "mel", torch.zeros(5, 4), 62.5)])
    with pytest.raises(ArtifactError, match="no 'mel' feature for clip 'a_2'"):
        mel_statistics.run(None, corpus / "manifest.parquet", [corpus / "0.safetensors"], corpus / "s.json")
    write_features(corpus / "0.safetensors", [(clip, "mel", torch.zeros(5, 4), 62.5) for clip in ("a_2", "b_1")])
    with pytest.raises(ArtifactError, match="the clips are silent"):
        mel_statistics.run(None, corpus / "manifest.parquet", [corpus / "0.safetensors"], corpus / "s.json")
