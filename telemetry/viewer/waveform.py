"""Recordings as what is drawn of them: how loud each side was, a hundred times a second.

A recording is decoded once, in the thread that asks first, and its waveform kept while there is
room. PyAV reads it, and is imported when it is needed.
"""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .words import Span

PER_SECOND: Final = 100
"""Values of a waveform."""
AUDIBLE: Final = 0.01
"""The share of full scale from which a sample counts as heard, as elsewhere in the product."""
_ABOVE_NOISE: Final = 3.5
"""A voice is louder than the quiet parts around it by this factor: 11 dB."""
_BRIDGED: Final = 6
"""Values of silence that are part of a word: a stop before a plosive."""
_BLIP: Final = 2
"""Values of sound that are no voice: a click."""
_KEPT_BYTES: Final = 32_000_000
"""Waveforms that are kept: some ten hours."""
_RATE: Final = 48_000
_BATCH_SECONDS: Final = 10
_MOST_SECONDS: Final = 6 * 3600
"""Of a recording, as much is drawn."""


class Peaks(TypedDict):
    """A waveform on its way to a page."""

    at: float
    """Seconds from the start of the conversation."""
    per_second: int
    channels: list[str]
    """For each side Base64 of a byte a value: the root of the loudest sample's share of full
    scale, times 255."""


@dataclass(frozen=True, slots=True)
class Waveform:
    """The loudness of both sides of a recording: bytes, as in :class:`Peaks`."""

    channels: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return sum(map(len, self.channels))

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(map(len, self.channels), default=0) / PER_SECOND

    def peaks(self, at: float) -> Peaks:
        """It as JSON, beginning then."""
        coded = [base64.b64encode(each).decode("ascii") for each in self.channels]
        return {"at": round(at, 4), "per_second": PER_SECOND, "channels": coded}

    def voiced(self, channel: int, at: float, until: float, *, earliest: float) -> list[Span]:
        """When a voice can be heard in a stretch of one side, in seconds from its beginning.

        Detection of speech begins late: a voice that leads into the stretch without a pause is
        taken along, as far as ``earliest``. Empty if nothing can be heard.
        """
        if channel >= len(self.channels):
            return []
        values = self.channels[channel]
        low, first = max(0, round(earliest * PER_SECOND)), max(0, round(at * PER_SECOND))
        last = min(len(values), round(until * PER_SECOND))
        if last <= first:
            return []
        stretch = values[min(low, first) : last]
        quiet = (sorted(stretch)[len(stretch) // 20] / 255) ** 2
        least = round(255 * max(AUDIBLE, min(quiet * _ABOVE_NOISE, 0.1)) ** 0.5)
        runs = _runs(values, low, last, least)
        kept = [run for run in runs if run[1] > first or (run[1] >= first - _BRIDGED)]
        return [(start / PER_SECOND, end / PER_SECOND) for start, end in kept]


def _runs(values: bytes, low: int, high: int, least: int) -> list[tuple[int, int]]:
    """Stretches of sound: short gaps bridged, clicks left out."""
    found: list[tuple[int, int]] = []
    start: int | None = None
    for index in range(low, high + 1):
        sounds = index < high and values[index] >= least
        if sounds and start is None:
            start = index
        elif not sounds and start is not None:
            if found and start - found[-1][1] <= _BRIDGED:
                found[-1] = (found[-1][0], index)
            else:
                found.append((start, index))
            start = None
    return [(start, end) for start, end in found if end - start > _BLIP]


class Waveforms:
    """Waveforms of recordings, each decoded once. For any thread."""

    def __init__(self, kept_bytes: int = _KEPT_BYTES) -> None:
        self._most = kept_bytes
        self._kept: OrderedDict[Path, tuple[tuple[int, int], Waveform]] = OrderedDict()
        """By file: its state when it was decoded, and the waveform."""
        self._lock = threading.Lock()
        self._decoding = threading.Lock()

    def known(self, path: Path) -> Waveform | None:
        """The waveform of a recording as far as it was decoded already; it may have grown since."""
        with self._lock:
            if path not in self._kept:
                return None
            self._kept.move_to_end(path)
            return self._kept[path][1]

    def of(self, path: Path) -> Waveform:
        """The waveform of a recording; takes a second for ten minutes of it.

        Raises:
            OSError: the file can't be read, or holds no sound.
        """
        with self._decoding:  # one after the other: each takes a core
            about = path.stat()
            state = about.st_mtime_ns, about.st_size
            with self._lock:
                if path in self._kept and self._kept[path][0] == state:
                    self._kept.move_to_end(path)
                    return self._kept[path][1]
            made = decoded(path)
            with self._lock:
                self._kept.pop(path, None)
                self._kept[path] = state, made
                while len(self._kept) > 1 and self._bytes > self._most:
                    self._kept.popitem(last=False)
        return made

    @property
    def _bytes(self) -> int:
        return sum(waveform.size for _, waveform in self._kept.values())


def decoded(path: Path) -> Waveform:
    """Decode a recording, as far as it goes.

    Raises:
        OSError: the file can't be read, or holds no sound.
    """
    sides = [bytearray(), bytearray()]
    for loudness in _loudness(path):
        for side, values in zip(sides, loudness, strict=False):
            side += values
    return Waveform(tuple(bytes(side) for side in sides if side))


def _loudness(path: Path) -> Iterator[list[bytes]]:
    """Values of each channel, some seconds at a time."""
    import av

    try:
        with av.open(str(path)) as file:
            if not file.streams.audio:
                raise OSError(f"{path}: there is no sound in it")
            channels = min(2, file.streams.audio[0].codec_context.channels)
            layout = "stereo" if channels == 2 else "mono"
            resampler = av.AudioResampler(format="s16", layout=layout, rate=_RATE)
            meter = _Meter(channels)
            for frame in _frames(file, av.FFmpegError):
                meter.held += [part.to_ndarray() for part in resampler.resample(frame)]
                if meter.seconds >= _BATCH_SECONDS:
                    yield meter.values(whole=False)
                if meter.passed >= _MOST_SECONDS * PER_SECOND:
                    return
            if meter.held:
                yield meter.values(whole=True)
    except (av.FFmpegError, UnicodeDecodeError) as error:  # older PyAV reads its tags strictly
        raise OSError(f"{path}: it can't be decoded ({error})") from error


class _Meter:
    """Turns samples into values; those that don't fill one wait for more."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self.held: list[Any] = []
        """Arrays of samples, the channels' in turn."""
        self.passed = 0
        """Values made so far."""

    @property
    def seconds(self) -> float:
        """The length of what is held."""
        return float(sum(one.shape[1] for one in self.held)) / (_RATE * self._channels)

    def values(self, *, whole: bool) -> list[bytes]:
        """The values of what is held, by channel; at the end (``whole``) the last is filled up."""
        import numpy as np

        each = _RATE // PER_SECOND
        samples = np.concatenate(self.held, axis=1).reshape(-1, self._channels)
        full = len(samples) // each * each
        rest = samples[full:]
        self.held = []
        if len(rest) and whole:
            pad = np.zeros((each - len(rest), self._channels), dtype=samples.dtype)
            samples, full = np.concatenate([samples, pad]), full + each
        elif len(rest):
            self.held = [rest.reshape(1, -1)]
        loud = np.abs(samples[:full].astype(np.int32)).reshape(-1, each, self._channels)
        share = np.minimum(loud.max(axis=1, initial=0) / 32767, 1.0)
        coded = np.rint(255 * np.sqrt(share)).astype(np.uint8)
        self.passed += len(coded)
        return [coded[:, side].tobytes() for side in range(self._channels)]


def _frames(file: Any, broken: type[Exception]) -> Iterator[Any]:
    """Frames up to the end, or to where the file breaks off: one that is being written does."""
    began = False
    frames = file.decode(audio=0)
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except broken:
            if began:
                return
            raise
        began = True
        yield frame
