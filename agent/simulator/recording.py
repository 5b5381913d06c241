"""Recordings of any kind, read as callers send them: mono PCM16 at one rate.

PyAV (FFmpeg) reads whatever container, rate, channels and samples a file has, and many a file with
a wrong header. What it can't read is refused in one line of text: the file, what is wrong with it,
what to do.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, BinaryIO, Final

import av

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_SECONDS: Final = 30 * 60
"""Length of a recording at most: no call lasts longer, and all of it is kept in memory."""
_SAMPLE_BYTES: Final = 2
_POINTER: Final = b"version https://git-lfs.github.com/"
"""Beginning of what Git LFS leaves in the place of a file that wasn't fetched."""
_MEND: Final = "record or export it again, as WAV, FLAC, Ogg or MP3"
_ALONE: Final = {"protocol_whitelist": ""}
"""Options for FFmpeg: a playlist can't bring in other files, nor what a server has."""


def read_pcm(path: Path, *, rate: int) -> bytes:
    """The first sound track of a file, as mono PCM16 little-endian at ``rate`` Hz.

    A part that is damaged is left out, as players do. Raises ValueError with one line of text.
    """
    if "\0" in str(path):
        raise ValueError(f"cannot read {str(path)!r}: there is a null character in its name")
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path} is a folder or a pipe: give the path of a recording")
        if not found.st_size:
            raise ValueError(f"{path} is empty: record or copy it again")
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise ValueError(
                    f"{path} is a pointer of Git LFS: fetch the file with git lfs pull"
                )
            file.seek(0)
            pcm = _decoded(file, path, rate)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"cannot read {path}: {reason.lower()}") from error
    if not pcm:
        raise ValueError(f"{path} has no sound in it that can be read: {_MEND}")
    return pcm


def _decoded(file: BinaryIO, path: Path, rate: int) -> bytes:
    pcm = bytearray()
    try:
        with av.open(file, mode="r", options=_ALONE) as container:
            for samples in _resampled(container, rate):
                pcm += samples
                if len(pcm) > LONGEST_SECONDS * rate * _SAMPLE_BYTES:
                    raise ValueError(
                        f"{path} is longer than {LONGEST_SECONDS // 60} minutes: cut out what the "
                        "caller says"
                    )
    except av.FFmpegError as error:
        what = (error.strerror or type(error).__name__).lower()
        raise ValueError(f"{path} is no recording that can be read ({what}): {_MEND}") from error
    return bytes(pcm)


def _resampled(container: av.container.InputContainer, rate: int) -> Iterator[bytes]:
    """The samples of the first sound track, in pieces; none if there is no such track."""
    resampler: av.AudioResampler | None = None
    kind: object = None
    for frame in _frames(container):
        if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
            if resampler is not None:  # a chain of recordings may change its kind midway
                yield from _bytes(resampler.resample(None))
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
        assert resampler is not None
        yield from _bytes(resampler.resample(frame))
    if resampler is not None:
        yield from _bytes(resampler.resample(None))


def _frames(container: av.container.InputContainer) -> Iterator[av.AudioFrame]:
    if not container.streams.audio:
        return
    for packet in container.demux(container.streams.audio[0]):
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue  # damaged


def _bytes(frames: list[av.AudioFrame]) -> Iterator[bytes]:
    for frame in frames:
        yield frame.to_ndarray().tobytes()
