"""Recordings of every kind are read; what is none gets one line of text."""

from __future__ import annotations

import math
import os
import struct
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from agent.simulator import recording
from agent.simulator.recording import read_pcm

from .recordings import tone, write_wav

if TYPE_CHECKING:
    from pathlib import Path

RATE = 16_000
SECOND = tone(1.0)
EXTENSIBLE = bytes.fromhex("0100000000001000800000aa00389b71")
"""The subformat of PCM in WAVE_FORMAT_EXTENSIBLE."""


def _chunk(name: bytes, data: bytes, *, size: int | None = None) -> bytes:
    length = len(data) if size is None else size
    return name + struct.pack("<I", length) + data + bytes(len(data) % 2)


def _format(
    tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, more: bytes = b""
) -> bytes:
    block = channels * bits // 8
    fields = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
    return _chunk(b"fmt ", fields + more)


def _riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


DATA = _chunk(b"data", SECOND)
UNKNOWN = 0xFFFFFFFF
"""The size that is written to a pipe, where nobody can go back to correct it."""
HEADERS = {
    "plain": _riff(_format(), DATA),
    "a comment before": _riff(_format(), _chunk(b"LIST", b"INFOISFT" + bytes(13)), DATA),
    "a comment after": _riff(_format(), DATA, _chunk(b"LIST", b"INFO")),
    "a longer format": _riff(_format(more=bytes(2)), DATA),
    "extensible": _riff(_format(0xFFFE, more=struct.pack("<HHI", 22, 16, 4) + EXTENSIBLE), DATA),
    "of unknown size": _riff(_format(), _chunk(b"data", SECOND, size=UNKNOWN), size=UNKNOWN),
    "of size 0": _riff(_format(), _chunk(b"data", SECOND, size=0)),
    "of half the size": _riff(_format(), DATA, size=36),
    "with no block size": _riff(
        _chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 0, 16)), DATA
    ),
    "with a byte more": _riff(_format(), _chunk(b"data", SECOND + b"\1")),
}


@pytest.mark.parametrize("header", HEADERS)
def test_wav_files_from_the_wild(tmp_path: Path, header: str) -> None:
    """Whatever their headers say, the samples are all there, unchanged."""
    path = tmp_path / "a.wav"
    path.write_bytes(HEADERS[header])
    assert read_pcm(path, rate=RATE) == SECOND


@pytest.mark.parametrize("left", [10_000, 10_001])
def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path: Path, left: int) -> None:
    """Even in the middle of a sample."""
    path = tmp_path / "a.wav"
    path.write_bytes(HEADERS["plain"][: -(len(SECOND) - left)])
    assert read_pcm(path, rate=RATE) == SECOND[: left // 2 * 2]


KINDS = {
    "8 bits": ("wav", "pcm_u8", 8_000, "mono"),
    "24 bits": ("wav", "pcm_s24le", 44_100, "stereo"),
    "32 bits": ("wav", "pcm_s32le", 96_000, "mono"),
    "float": ("wav", "pcm_f32le", 48_000, "mono"),
    "double": ("wav", "pcm_f64le", 22_050, "stereo"),
    "mu-law": ("wav", "pcm_mulaw", 8_000, "mono"),
    "A-law": ("wav", "pcm_alaw", 8_000, "mono"),
    "ADPCM": ("wav", "adpcm_ima_wav", 8_000, "mono"),
    "Microsoft's ADPCM": ("wav", "adpcm_ms", 16_000, "mono"),
    "5.1": ("wav", "pcm_s16le", 48_000, "5.1"),
    "RF64": ("wav", "pcm_s16le", 16_000, "mono"),
    "W64": ("w64", "pcm_s16le", 16_000, "mono"),
    "AIFF": ("aiff", "pcm_s16be", 44_100, "stereo"),
    "AU": ("au", "pcm_s16be", 8_000, "mono"),
    "FLAC": ("flac", "flac", 48_000, "stereo"),
    "Opus": ("ogg", "libopus", 48_000, "mono"),
    "MP3": ("mp3", "libmp3lame", 44_100, "stereo"),
    "M4A": ("ipod", "aac", 44_100, "stereo"),
    "WebM": ("webm", "libopus", 48_000, "mono"),
    "Matroska": ("matroska", "pcm_s24le", 16_000, "mono"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read(tmp_path: Path, kind: str) -> None:
    """Any container, rate, channels and samples: as long as it was, and the same tone."""
    container, codec, rate, layout = KINDS[kind]
    path = tmp_path / "a.wav"  # whatever it is called
    with av.open(
        str(path), "w", format=container, options={"rf64": "always"} if kind == "RF64" else {}
    ) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        assert stream.format is not None
        encode = av.AudioResampler(
            stream.format.name, layout, rate, frame_size=stream.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(_tone(1.0, rate), format="s16", layout="mono")
        frame.rate = rate
        for each in [*encode.resample(frame), *encode.resample(None), None]:
            out.mux(stream.encode(each))
    samples = np.frombuffer(read_pcm(path, rate=RATE), "<i2")
    assert len(samples) == pytest.approx(RATE, rel=0.06)  # codecs have blocks
    middle = samples[4_000:12_000].astype(float)
    spectrum = abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) * RATE / len(middle) == pytest.approx(440, abs=5)
    assert 2_000 < abs(middle).max() < 12_000  # of six channels one speaks


def _tone(seconds: float, rate: int) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    times = np.arange(round(seconds * rate)) / rate
    return (8_000 * np.cos(2 * math.pi * 440 * times)).astype("<i2")[None, :]


# -- what can't be read ----------------------------------------------------------------------------

NO_RECORDINGS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is empty"),
    "text": (b"this is no recording", "is no recording that can be read"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:aaaa\nsize 12345\n",
        "git lfs pull",
    ),
    "noughts": (bytes(20_000), "is no recording"),
    "no samples": (_riff(_format(), _chunk(b"data", b"")), "can be read"),
    "no data": (_riff(_format()), "is no recording"),
    "no format": (_riff(DATA), "is no recording"),
    "no channels": (_riff(_format(channels=0), DATA), "can be read"),
    "no rate": (_riff(_format(rate=0), DATA), "is no recording"),
    "a rate of 2 GHz": (_riff(_format(rate=2_000_000_000), DATA), "can be read"),
    "255 channels": (_riff(_format(channels=255), DATA), "is no recording"),
    "a broken comment": (_riff(_format(), b"LIST\x0b\0\0\0INFOISFTabc", DATA), "is no recording"),
    "the tag of an MP3": (b"ID3\x03" + bytes(2_000), "is no recording"),
    "subtitles": (b"1\n00:00:01,000 --> 00:00:02,000\nhello\n", "no sound in it"),
    "big-endian": (b"RIFX" + _riff(_format(), DATA)[4:], "is no recording"),
    "a playlist": (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "is no recording"),
}


@pytest.mark.parametrize("kind", NO_RECORDINGS)
def test_what_is_no_recording_is_one_line(tmp_path: Path, kind: str) -> None:
    """The file, what is wrong with it, what to do."""
    content, why = NO_RECORDINGS[kind]
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    _refused(path, why)


def _refused(path: Path, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        read_pcm(path, rate=RATE)
    assert path.name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    """A folder, a pipe that nobody writes to, a device, a file that isn't there, an odd name."""
    os.mkfifo(tmp_path / "pipe.wav")
    _refused(tmp_path, "is a folder or a pipe")
    _refused(tmp_path / "pipe.wav", "is a folder or a pipe")
    _refused(tmp_path.__class__("/dev/zero"), "is a folder or a pipe")
    _refused(tmp_path / "gone.wav", "cannot read .*: no such file")
    _refused(tmp_path / ("long" * 100), "cannot read .*: file name too long")
    with pytest.raises(ValueError, match="null character"):
        read_pcm(tmp_path / "a\0b.wav", rate=RATE)


def test_a_playlist_brings_nothing_in(tmp_path: Path) -> None:
    """A file that names others, here or on a server, is no recording: they aren't read."""
    write_wav(tmp_path / "other.wav", SECOND)
    path = tmp_path / "a.wav"
    path.write_text(f"ffconcat version 1.0\nfile {tmp_path / 'other.wav'}\n")
    _refused(path, "is no recording")


def test_a_recording_has_a_longest_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept in memory: hours of it are refused, without reading them all."""
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(_riff(_format(rate=8_000), _chunk(b"data", b"", size=UNKNOWN), size=UNKNOWN))
        file.truncate(4 * 3600 * 8_000 * 2)
    _refused(path, "is longer than 30 minutes")
    monkeypatch.setattr(recording, "LONGEST_SECONDS", 1)
    assert read_pcm(write_wav(tmp_path / "a.wav", SECOND), rate=RATE) == SECOND
    _refused(write_wav(tmp_path / "b.wav", SECOND + b"\0\0"), "is longer than")


def test_a_damaged_part_is_left_out(tmp_path: Path) -> None:
    """As players do: what comes after it is heard."""
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        assert stream.format is not None
        encode = av.AudioResampler(stream.format.name, "mono", RATE, frame_size=stream.frame_size)
        frame = av.AudioFrame.from_ndarray(_tone(4.0, RATE), format="s16", layout="mono")
        frame.rate = RATE
        for each in [*encode.resample(frame), *encode.resample(None), None]:
            out.mux(stream.encode(each))
    whole = read_pcm(path, rate=RATE)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 500] = os.urandom(500)
    path.write_bytes(content)
    assert 0.7 * len(whole) < len(read_pcm(path, rate=RATE)) <= len(whole)
