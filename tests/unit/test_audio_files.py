"""Audio files: every way in which one can be unusable has its own message, and what is usable comes out sample by sample."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from agrepa.audio import files
from agrepa.errors import AudioError

RATE = 16000


def tone(frequency: float, rate: int = RATE, seconds: float = 1.0, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def encoded(wave: np.ndarray, rate: int = RATE, container: str = "WAV", subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def test_round_trip_through_flac_is_exact_to_half_a_step(tmp_path: Path) -> None:
    wave = tone(440)
    files.write_flac(tmp_path / "deep" / "a.flac", wave, RATE)
    back, rate = files.read(tmp_path / "deep" / "a.flac", expected_rate=RATE)
    assert rate == RATE
    assert back.dtype == np.float32
    assert back.shape == wave.shape
    assert np.abs(back - wave * 32767 / 32768).max() < 1 / 32768


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=300))
def test_equal_waves_are_equal_bytes_and_survive(samples: list[float]) -> None:
    wave = np.array(samples, dtype=np.float32)
    first, second = files.flac(wave, RATE), files.flac(wave.copy(), RATE)
    assert first == second
    assert np.abs(files.read(first)[0] - wave).max() <= 1.51 / 32768  # scaled down by one step at most, then rounded


def test_a_wave_above_full_scale_is_scaled_and_not_clipped() -> None:
    wave = tone(440, peak=3.0)
    back, _ = files.read(files.flac(wave, RATE))
    assert 0.999 < np.abs(back).max() < 1
    assert np.corrcoef(back, wave)[0, 1] > 0.999999
    assert (np.abs(back) > 0.9999).sum() < 0.02 * len(back)  # a clipped sine would rest at the top


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.array([0.1, np.nan, np.inf], dtype=np.float32), "2 of 3 samples are NaN or infinite"),
        (np.zeros(0, dtype=np.float32), r"got shape \[0\]"),
        (np.zeros((10, 2), dtype=np.float32), r"got shape \[10, 2\]"),
    ],
)
def test_what_cannot_be_written(wave: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=message):
        files.write_flac(tmp_path / "x.flac", wave, RATE)
    assert not (tmp_path / "x.flac").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.wav", None, "no such audio file: check the path"),
        ("nothing.wav", b"", "is empty, it has no bytes"),
        ("no_samples.wav", encoded(np.zeros(0, dtype=np.float32)), "is empty, it has no samples"),
        ("text.wav", b"this is not audio at all" * 20, "cannot be decoded .*convert it to WAV or FLAC"),
        ("noise.flac", b"fLaC" + bytes(range(256)) * 8, "cannot be decoded"),
        ("cut.wav", encoded(tone(300))[:20000], "truncated: its header announces 32044 bytes and it has 20000"),
        ("cut.aiff", encoded(tone(300), container="AIFF")[:20000], "truncated: its header announces 32054 bytes"),
        ("cut.flac", encoded(tone(300), container="FLAC")[:4000], "cannot be decoded|truncated"),
        ("cut.ogg", encoded(tone(300), container="OGG", subtype="VORBIS")[:-500], "truncated: the last page"),
        (
            "cut.mp3",
            encoded(tone(300, seconds=4), container="MP3", subtype="MPEG_LAYER_III")[:3000],
            r"truncated: \d+ of 64000 samples could be decoded",
        ),
        ("nan.wav", encoded(np.full(99, np.nan, dtype=np.float32), subtype="FLOAT"), "99 samples that are NaN or infinite"),
        ("stereo.wav", encoded(np.zeros((99, 2), dtype=np.float32)), "has 2 channels: mix it down to one channel"),
        ("slow.wav", encoded(tone(300, rate=8000), rate=8000), "is at 8000 Hz and 16000 Hz is expected: resample it"),
    ],
)
def test_every_bad_recording_is_named_with_its_remedy(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=message) as failure:
        files.read(path, expected_rate=RATE)
    assert str(path) in str(failure.value)


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_24"), ("AIFF", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_whole_files_of_every_container_are_accepted(container: str, subtype: str) -> None:
    wave, _ = files.read(encoded(tone(300), container=container, subtype=subtype))
    assert len(wave) == RATE


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_written_into_a_pipe_is_not_called_truncated(size: int) -> None:
    data = encoded(tone(300))
    assert files.read(data[:4] + struct.pack("<I", size) + data[8:])[0].shape == (RATE,)


@pytest.mark.parametrize(("container", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_a_part_is_the_same_samples_as_in_the_whole(container: str, subtype: str) -> None:
    data = encoded(np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32), container=container, subtype=subtype)
    whole, part = files.read(data)[0], files.read(data, start=1.5, seconds=0.5)[0]
    assert part.shape == (RATE // 2,)
    assert np.abs(part - whole[24000:32000]).max() < 1e-4


def test_channels_are_mixed_where_asked() -> None:
    both = np.stack([tone(300), -0.5 * tone(300)], axis=1)
    wave, _ = files.read(encoded(both, subtype="FLOAT"), mix=True)
    assert np.allclose(wave, 0.25 * tone(300), atol=1e-6)


def test_length_reads_the_header_alone() -> None:
    assert files.length(encoded(tone(300, seconds=2.5))) == (2.5, RATE)
    with pytest.raises(AudioError, match="clip 7: cannot be decoded"):
        files.length(b"no audio", "clip 7")


@pytest.mark.parametrize(("before", "after"), [(11025, 16000), (44100, 16000), (16000, 44100), (48000, 22050)])
def test_resampling_keeps_length_level_and_pitch(before: int, after: int) -> None:
    wave = files.resample(tone(1000, before), before, after)
    assert wave.shape == (after,)
    inner = slice(after // 10, -after // 10)
    assert np.abs(wave - tone(1000, after))[inner].max() < 2e-3


def test_resampling_leaves_no_alias_and_equal_rates_alone() -> None:
    high = files.resample(tone(9000, 44100), 44100, 16000)  # above half the new rate
    assert np.sqrt(np.mean(high[2000:-2000] ** 2)) < 1e-3
    assert np.array_equal(files.resample(tone(9), RATE, RATE), tone(9))


def test_band_limit_passes_below_and_removes_from_the_bandwidth_on() -> None:
    def level(frequency: float) -> float:
        wave = files.band_limit(tone(frequency), RATE, 5000)
        assert wave.shape == (RATE,)
        return 20 * np.log10(np.sqrt(np.mean(wave[2000:-2000] ** 2)) / np.sqrt(np.mean(tone(frequency)[2000:-2000] ** 2)))

    assert abs(level(100)) < 0.01
    assert abs(level(4700)) < 0.01
    assert level(5000) < -75
    assert level(7000) < -75


def test_band_limit_does_not_delay_and_needs_a_bandwidth_below_nyquist() -> None:
    click = np.zeros(2001, dtype=np.float32)
    click[1000] = 1
    answer = files.band_limit(click, RATE, 5000)
    assert answer.argmax() == 1000
    assert np.allclose(answer, answer[::-1], atol=1e-6)
    assert np.array_equal(files.band_limit(click, RATE, 8000), click)
    assert files.band_limit(click[:5], RATE, 5000).shape == (5,)


def test_only_silence_at_the_ends_is_cut_off():
    wave = np.zeros(16000, np.float32)
    wave[3200:4800], wave[8000:9600] = 0.1, 0.1
    assert files.trim_silence(wave, 16000, -50.0) == slice(3200, 9600)
    assert files.trim_silence(wave * 1e-3, 16000, -50.0) == slice(0, 0)
    assert files.trim_silence(np.full(105, 0.5, np.float32), 16000, -50.0) == slice(0, 105)
