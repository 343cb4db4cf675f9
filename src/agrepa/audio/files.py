"""Audio files: reading with messages a person can act on, 16-bit FLAC, resampling and the common low-pass."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import soundfile

from agrepa.errors import AudioError

FULL_SCALE = 32767 / 32768  # the largest sample that 16 bits hold; a louder wave is scaled down as a whole, never clipped
STOPBAND_DB = 80.0  # what the low-pass leaves of anything at or above the bandwidth
TRANSITION = 0.05  # width of its slope, as a part of the bandwidth
FILTER_ZEROS = 64  # zero crossings of the resampling sinc on each side
MP3_SLACK_SECONDS = 0.15  # an MP3 may decode to fewer samples than its header says by the encoder's delay and padding
FLAC_HEADER = 42  # bytes up to the end of the block that every FLAC begins with
UNKNOWN_FRAMES = 1 << 62  # libsndfile's answer where a stream does not say how long it is


def read(
    source: Path | str | bytes,
    name: str | None = None,
    expected_rate: int | None = None,
    *,
    mix: bool = False,
    start: float = 0.0,
    seconds: float | None = None,
) -> tuple[np.ndarray, int]:
    """Decode a recording of one channel.

    Args:
        source: a path, or the bytes of an audio file.
        name: what to call it in messages; the path by default.
        expected_rate: the sample rate in Hz that it must have.
        mix: average several channels instead of refusing them.
        start, seconds: the part to decode; the whole file by default.

    Returns:
        float32 samples ``[N]`` within [-1, 1] for integer formats, and the sample rate in Hz.

    Raises:
        AudioError: missing, not audio, truncated, empty, several channels, NaN or infinite samples, or another rate.
    """
    data, name = _load(source, name)
    if missing := _truncation(data):
        raise AudioError(f"{name}: truncated: {missing}: copy or download it again")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as stream:
            rate, channels, container, announced = stream.samplerate, stream.channels, stream.format, stream.frames
            first = round(start * rate)
            count = announced - first if seconds is None else min(round(seconds * rate), announced - first)
            # An MP3 frame needs the bits of those before it, so that seeking in one garbles the first samples.
            skipped = first if container == "MP3" else 0
            if first > skipped:
                stream.seek(first)
            wave = stream.read(-1 if announced >= UNKNOWN_FRAMES else skipped + count, dtype="float32", always_2d=True)[skipped:]
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        raise AudioError(
            f"{name}: cannot be decoded ({_reason(error)}): damaged or not audio; convert it to WAV or FLAC"
        ) from None
    if channels > 1 and not mix:
        raise AudioError(f"{name}: has {channels} channels: mix it down to one channel")
    if len(wave) == 0:
        raise AudioError(f"{name}: is empty, it has no samples: remove it or record it again")
    # An MP3 without a header of its own is announced by its size, so that its length is known only once it is decoded.
    slack = MP3_SLACK_SECONDS * rate if container == "MP3" else 0
    exact = announced < UNKNOWN_FRAMES and (container != "MP3" or b"Xing" in data[:4096] or b"Info" in data[:4096])
    if exact and count - len(wave) > slack:
        raise AudioError(f"{name}: truncated: {len(wave)} of {count} samples could be decoded: copy or download it again")
    if not np.isfinite(wave).all():
        raise AudioError(f"{name}: has {int((~np.isfinite(wave)).sum())} samples that are NaN or infinite: export it again")
    if expected_rate is not None and rate != expected_rate:
        raise AudioError(
            f"{name}: is at {rate} Hz and {expected_rate} Hz is expected: resample it, or run the stage that writes it"
        )
    return wave.mean(axis=1, dtype=np.float32) if channels > 1 else wave[:, 0], rate


def length(source: Path | str | bytes, name: str | None = None) -> tuple[float, int]:
    """Seconds and sample rate in Hz as the header gives them, without decoding; an MP3's seconds may be 1 % off.

    Raises AudioError when it is missing or not audio.
    """
    data, name = _load(source, name)
    try:
        info = soundfile.info(io.BytesIO(data))
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise AudioError(
            f"{name}: cannot be decoded ({_reason(error)}): damaged or not audio; convert it to WAV or FLAC"
        ) from None
    return info.frames / info.samplerate, info.samplerate


def flac_header(head: bytes, name: str) -> tuple[float, int, str]:
    """What the first FLAC_HEADER bytes of a FLAC say: seconds, sample rate in Hz, and the MD5 of its samples in hexadecimal.

    They are its STREAMINFO block (RFC 9639, section 8.2), so that nothing has to be decoded or read as a whole. An encoder
    that does not know the MD5 writes zeros.

    Raises AudioError when it is no FLAC or does not say how long it is.
    """
    if len(head) < FLAC_HEADER or head[:4] != b"fLaC" or head[4] & 0x7F:
        raise AudioError(f"{name}: is not a FLAC, or cut off within its header: copy or download it again")
    packed = int.from_bytes(head[18:26])  # 20 bits of rate, 3 of channels, 5 of sample size, 36 of length in samples
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    if not rate or not samples:
        raise AudioError(f"{name}: its header does not say how long it is: encode it again")
    return samples / rate, rate, head[26:42].hex()


def flac(wave: np.ndarray, rate: int, name: str = "wave") -> bytes:
    """A wave ``[N]`` as 16-bit FLAC of one channel; scaled down as a whole where its peak is above full scale.

    Raises AudioError when it is empty, not of one dimension, or has NaN or infinite samples.
    """
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1 or len(wave) == 0:
        raise AudioError(f"{name}: cannot be written: expected samples [N] of one channel, got shape {list(wave.shape)}")
    if not np.isfinite(wave).all():
        raise AudioError(
            f"{name}: cannot be written: {int((~np.isfinite(wave)).sum())} of {len(wave)} samples are NaN or infinite"
        )
    peak = float(np.abs(wave).max())
    if peak > FULL_SCALE:
        wave = wave * np.float32(FULL_SCALE / peak)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def write_flac(path: Path, wave: np.ndarray, rate: int) -> None:
    """Write a wave ``[N]`` as ``flac`` encodes it; the same wave gives the same bytes."""
    data = flac(wave, rate, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def resample(wave: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Change the sample rate (Hz) of a wave ``[N]`` by a windowed sinc; ``[ceil(N * to_rate / from_rate)]`` float32."""
    if from_rate == to_rate:
        return np.asarray(wave, dtype=np.float32)
    import torch
    import torchaudio.functional

    samples = torch.from_numpy(np.array(wave, dtype=np.float32))
    return torchaudio.functional.resample(samples, from_rate, to_rate, lowpass_filter_width=FILTER_ZEROS).numpy()


def trim_silence(wave: np.ndarray, rate: int, decibels: float) -> slice:
    """The part of ``wave [N]`` between its first and last 10 ms whose RMS exceeds ``decibels`` of full scale; may be empty."""
    hop = max(rate // 100, 1)
    padded = np.pad(wave, (0, -len(wave) % hop)).reshape(-1, hop)
    loud = np.flatnonzero(np.sqrt(np.square(padded, dtype=np.float64).mean(1)) > 10 ** (decibels / 20))
    return slice(int(loud[0]) * hop, min((int(loud[-1]) + 1) * hop, len(wave))) if len(loud) else slice(0, 0)


def band_limit(wave: np.ndarray, rate: int, bandwidth_hz: float) -> np.ndarray:
    """Remove everything at and above ``bandwidth_hz`` from a wave ``[N]``, without delay; ``[N]`` float32.

    A Kaiser-windowed linear-phase FIR: flat up to ``(1 - TRANSITION) * bandwidth_hz``, ``STOPBAND_DB`` down from
    ``bandwidth_hz`` on. A bandwidth of half the sample rate or more leaves the wave as it is.
    """
    wave = np.asarray(wave, dtype=np.float32)
    if bandwidth_hz >= rate / 2:
        return wave
    from scipy.signal import firwin, kaiserord, oaconvolve

    slope = TRANSITION * bandwidth_hz
    taps, beta = kaiserord(STOPBAND_DB, slope / (rate / 2))
    kernel = firwin(taps | 1, bandwidth_hz - slope / 2, window=("kaiser", beta), fs=rate)
    padded = np.pad(wave.astype(np.float64), len(kernel) // 2)
    return oaconvolve(padded, kernel, mode="valid").astype(np.float32)


def _load(source: Path | str | bytes, name: str | None) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        data, name = source, name or "audio in memory"
    else:
        path = Path(source)
        name = name or str(path)
        if not path.is_file():
            raise AudioError(f"{name}: no such audio file: check the path")
        data = path.read_bytes()
    if not data:
        raise AudioError(f"{name}: is empty, it has no bytes: remove it or record it again")
    return data, name


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).strip(" .") or type(error).__name__


def _truncation(data: bytes) -> str | None:
    """What is missing at the end of a WAV, AIFF or Ogg file; libsndfile would silently read such a file as a shorter one."""
    head = data[:4]
    if head in (b"RIFF", b"FORM"):
        declared = struct.unpack("<I" if head == b"RIFF" else ">I", data[4:8].ljust(4, b"\0"))[0] + 8
        # Programs that write into a pipe cannot know the size and leave 0 or the largest number there.
        if 8 < declared < 0xFFFFFFF0 and declared > len(data) + 1:
            return f"its header announces {declared} bytes and it has {len(data)}"
    if head == b"OggS":
        page = data.rfind(b"OggS")
        table = data[page + 27 : page + 27 + data[page + 26]] if page + 26 < len(data) else b""
        ended = page + 5 < len(data) and data[page + 5] & 4
        if not ended or page + 27 + len(table) + sum(table) > len(data):
            return "the last page of the Ogg stream is missing"
    return None
