"""The line between caller and agent: noise, lost and late audio, and echo, the same for a seed.

A caller's clean recording reaches the agent made worse in the way of telephone lines; the caller's
own measurements stay with the clean one. All audio is mono PCM16 little-endian, in frames of one
length; levels are RMS with full scale 1.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from agent.audio import audible
from agent.errors import InputError
from agent.simulator.audio import FRAME_SECONDS, SAMPLE_RATE_HZ
from agent.simulator.concealment import Concealment

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOMINAL_LEVEL_RMS: Final = 10 ** (-26 / 20)
"""Active level of speech on a telephone line, -26 dBov (ITU-T G.191)."""
BURST_FRAMES: Final = 2
"""Number of frames lost together, on average: congestion takes neighbours (Gilbert-Elliott)."""
GAP_EVERY_SECONDS: Final = 5.0
"""Time from the end of a gap to the next one, on average."""
ECHO_DELAY_SECONDS: Final = 0.12
"""Time after which the caller hears the agent, and the agent itself."""
PAUSE_SECONDS: Final = 0.5
"""Silence after which the next sound is a new utterance."""
DROWNED_RATIO: Final = 2.5
"""Level over the noise (8 dB, RMS of 20 ms) below which speech can't be told from it."""
NOISE_SECONDS: Final = 8.0
"""Length of the noise, which is then repeated."""
ACTIVE_POWER_RATIO: Final = 10 ** (-15.9 / 10)
"""Power of the faintest speech that counts, of the mean of what counts (ITU-T P.56)."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The faults of a line; there are none by default.

    Raises ValueError with one line of text when a value is out of its range.
    """

    snr_db: float | None = None
    """Level of the speech above that of the noise."""
    loss: float = 0.0
    """Share of the frames that are lost, up to a half."""
    jitter_ms: float = 0.0
    """Lateness of frames, at most; they stay in order."""
    gap_ms: float = 0.0
    """Length of gaps in which nothing comes through, every :data:`GAP_EVERY_SECONDS` on average."""
    clip_start_ms: float = 0.0
    """Length of the beginning of an utterance that is cut off: the button was pressed late."""
    echo_db: float | None = None
    """Level of the echo of what the caller hears, over the original (negative: fainter)."""

    def __post_init__(self) -> None:
        for key, field in _FIELDS.items():
            lowest, highest = _RANGES[key]
            value = getattr(self, field)
            if value is not None and not lowest <= value <= highest:
                raise ValueError(f"{field} has to be {lowest:g} to {highest:g}, not {value:g}")

    @classmethod
    def parse(cls, text: str) -> Conditions:
        """Conditions as ``str()`` writes them: ``snr=20,loss=0.02,jitter=40`` or ``clean``.

        Raises :class:`~agent.errors.InputError`.
        """
        if text.strip() in {"", "clean"}:
            return cls()
        given: dict[str, float] = {}
        for part in text.split(","):
            key, _, value = (piece.strip() for piece in part.partition("="))
            if key not in _FIELDS:
                known = ", ".join(_FIELDS)
                raise InputError(f"line {text!r}: unknown condition {key!r}; known are {known}")
            if _FIELDS[key] in given:
                raise InputError(f"line {text!r}: {key} is given twice")
            try:
                given[_FIELDS[key]] = float(value)
            except ValueError:
                raise InputError(
                    f"line {text!r}: {key} needs a number, as in snr=20,loss=0.02"
                ) from None
        try:
            return cls(**given)
        except ValueError as error:
            raise InputError(f"line {text!r}: {error}") from error

    def __str__(self) -> str:
        default = {field.name: field.default for field in dataclasses.fields(self)}
        values = {key: getattr(self, field) for key, field in _FIELDS.items()}
        worse = [f"{k}={v:g}" for k, v in values.items() if v != default[_FIELDS[k]]]
        return ",".join(worse) or "clean"


_FIELDS: Final = {
    "snr": "snr_db",
    "loss": "loss",
    "jitter": "jitter_ms",
    "gap": "gap_ms",
    "clip": "clip_start_ms",
    "echo": "echo_db",
}
_RANGES: Final = {
    "snr": (-20.0, 80.0),
    "loss": (0.0, 0.5),
    "jitter": (0.0, 1000.0),
    "gap": (0.0, 5000.0),
    "clip": (0.0, 5000.0),
    "echo": (-80.0, 0.0),
}


class Arrival(NamedTuple):
    """The arrival of a frame at the other end of the line."""

    late: float
    """Seconds by which it comes late."""
    frame: bytes
    swallowed: bool = False
    """True when the line lost it, or the speech in it can't be told from the noise."""


class Impairment:
    """One caller's line.

    Args:
        conditions: its faults.
        rng: source of random choices. Each condition has a stream of its own: one more of them
            leaves what the others do as it was.
        sample_rate: samples per second.
        level: active level of the caller's speech (:func:`active_level`); noise is measured
            against it.
    """

    def __init__(
        self,
        conditions: Conditions,
        rng: np.random.Generator,
        *,
        sample_rate: int = SAMPLE_RATE_HZ,
        level: float = NOMINAL_LEVEL_RMS,
    ) -> None:
        self._conditions = conditions
        self._rate = sample_rate
        sound, self._loss_chance, self._gaps, self._lateness = rng.spawn(4)
        self._noise = np.zeros(0, np.float32)
        self._noise_level = 0.0
        if conditions.snr_db is not None:
            self._noise_level = 2**15 * level * 10 ** (-conditions.snr_db / 20)
            room = noise(NOISE_SECONDS, sound, sample_rate)
            self._noise = (self._noise_level * room).astype(np.float32)
        self._at = 0
        self._losing = self._loss_chance.random() < conditions.loss
        self._next_gap = self._gaps.exponential(GAP_EVERY_SECONDS)
        self._late = 0.0
        self._quiet = PAUSE_SECONDS
        self._to_clip = 0
        silent_frames = round(ECHO_DELAY_SECONDS / FRAME_SECONDS)
        self._played: deque[bytes | None] = deque([None] * silent_frames)
        self._receiver = Concealment(sample_rate)

    def outgoing(self, frame: bytes, heard: bytes | None = None) -> Arrival:
        """Send a frame of the caller's microphone; returns its arrival at the agent.

        Call it for each frame in turn, silent ones too. ``heard`` is the frame that the caller
        hears in the same 20 ms, if any. Frames stay in order: none is so late that the next
        overtakes it.
        """
        samples = np.frombuffer(frame, "<i2").astype(np.float32)
        if self._conditions.clip_start_ms:
            self._clip(samples, audible(frame))
        drowned = math.sqrt(np.square(samples).mean()) < DROWNED_RATIO * self._noise_level
        if self._conditions.echo_db is not None:
            self._add_echo(samples, heard)
        if self._noise.size:
            at = np.arange(self._at, self._at + samples.size)
            samples += self._noise.take(at, mode="wrap")
        self._at += samples.size
        lost = self._lost(samples.size)
        played = self._receiver.lost(samples.size) if lost else self._receiver.arrived(samples)
        sent = np.clip(played.round(), -(2**15), 2**15 - 1).astype("<i2").tobytes()
        return Arrival(self._delay(), sent, swallowed=lost or drowned)

    def _clip(self, samples: NDArray[np.float32], loud: NDArray[np.intp]) -> None:
        """Cut the beginning off an utterance; all of it that is louder comes through."""
        start = 0
        if loud.size and self._quiet >= PAUSE_SECONDS:
            start = int(loud[0])
            self._to_clip = round(self._conditions.clip_start_ms / 1000 * self._rate)
        end = min(start + self._to_clip, samples.size)
        samples[start:end] = 0
        self._to_clip -= end - start
        silent = samples.size - (int(loud[-1]) + 1 if loud.size else 0)
        self._quiet = silent / self._rate + (0 if loud.size else self._quiet)

    def _add_echo(self, samples: NDArray[np.float32], heard: bytes | None) -> None:
        self._played.append(heard)
        returned = self._played.popleft()
        if returned and self._conditions.echo_db is not None:
            echo = np.frombuffer(returned, "<i2")[: samples.size]
            samples[: echo.size] += np.float32(10 ** (self._conditions.echo_db / 20)) * echo

    def _lost(self, size: int) -> bool:
        """True when this frame is lost: in a burst of losses, or in a gap."""
        loss, gap = self._conditions.loss, self._conditions.gap_ms / 1000
        if loss:
            chance = 1 / BURST_FRAMES if self._losing else loss / (1 - loss) / BURST_FRAMES
            self._losing ^= bool(self._loss_chance.random() < chance)
        if gap:
            self._next_gap -= size / self._rate
            if self._next_gap <= -gap:
                self._next_gap = self._gaps.exponential(GAP_EVERY_SECONDS)
        return bool(self._losing) or (gap > 0 and self._next_gap <= 0)

    def _delay(self) -> float:
        if self._conditions.jitter_ms:
            wanted = self._lateness.uniform(0, self._conditions.jitter_ms / 1000)
            self._late = max(wanted, self._late - FRAME_SECONDS)  # not before the one before
        return self._late


def active_level(pcm: bytes, *, sample_rate: int = SAMPLE_RATE_HZ) -> float:
    """RMS of the parts of a recording in which somebody speaks, full scale 1; pauses don't count.

    ITU-T P.56 in frames of 20 ms: what is within 15.9 dB of the result counts.
    """
    size = round(FRAME_SECONDS * sample_rate)
    samples = np.frombuffer(pcm, "<i2")
    frames = samples[: samples.size // size * size].reshape(-1, size) / 2**15
    power = np.square(frames).mean(axis=1)
    mean = 0.0
    for _ in range(20):  # each time more of the pauses are left out; a few rounds settle it
        active = power[power > ACTIVE_POWER_RATIO * mean]
        if not active.size or active.mean() == mean:
            break
        mean = float(active.mean())
    return math.sqrt(mean)


def noise(
    seconds: float, rng: np.random.Generator, sample_rate: int = SAMPLE_RATE_HZ
) -> NDArray[np.float64]:
    """A room full of people, RMS 1: pink above 100 Hz, swelling as syllables do (2 to 6 Hz).

    It is periodic: its end joins its beginning.
    """
    size = round(seconds * sample_rate)
    room = _band(rng.standard_normal(size), 100, sample_rate / 2, sample_rate, pink=True)
    swell = _band(rng.standard_normal(size), 2, 6, sample_rate)
    room *= np.clip(1 + 0.3 * swell / swell.std(), 0.2, None)
    room /= np.sqrt(np.square(room).mean())
    return room


def _band(
    white: NDArray[np.float64], low: float, high: float, sample_rate: int, *, pink: bool = False
) -> NDArray[np.float64]:
    """White noise without what is below ``low`` and above ``high`` Hz."""
    spectrum = np.fft.rfft(white)
    frequency = np.fft.rfftfreq(white.size, 1 / sample_rate)
    inside = (frequency >= low) & (frequency <= high)
    spectrum[~inside] = 0
    if pink:  # power falls as 1/f
        spectrum[inside] /= np.sqrt(frequency[inside])
    return np.fft.irfft(spectrum, white.size)
