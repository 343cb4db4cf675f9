"""Log-mel spectrograms against the published formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from agrepa.audio.mel import filter_bank, frames, log_mel
from agrepa.errors import AudioError
from agrepa.params.audio import Mel

SAME = Mel(
    n_fft=1024,
    hop=256,
    bands=80,
    f_min=0.0,
    f_max=8000.0,
    scale="slaney",
    norm="slaney",
    padding="same",
    floor=1e-5,
    statistics="bands",
)
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
