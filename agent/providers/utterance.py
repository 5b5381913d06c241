"""Speech to be recognised, cut out of the audio it came in. No I/O.

The audio goes through in windows of 32 ms. While nobody speaks, only the last third of a second
is kept, as lead-in; so a silent caller costs no memory, and a pause within an utterance is
shortened to that third of a second.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from livekit import local_inference

from agent.audio import audible, noise_level

from .speech_events import (
    ACTIVATION_PROBABILITY,
    DEACTIVATION_PROBABILITY,
    MIN_SILENCE_SECONDS,
    MIN_SPEECH_SECONDS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[np.int16]"

SAMPLE_RATE_HZ: Final = 16_000
"""Sample rate of everything here."""
MAX_SPEECH_SECONDS: Final = 30.0
"""Length of the longest speech recognised in one piece. The cost grows faster than the length: 15 s
of speech took 0.5 s, 30 s took 1.2 s, 40 s took 1.9 s; each second holds the interpreter for 1
ms."""

_WINDOW_SAMPLES: Final = local_inference.VAD_WINDOW_SAMPLES
_MIN_VOICED_WINDOWS: Final = -(-int(MIN_SPEECH_SECONDS * SAMPLE_RATE_HZ) // _WINDOW_SAMPLES)
_MIN_UNVOICED_WINDOWS: Final = -(-int(MIN_SILENCE_SECONDS * SAMPLE_RATE_HZ) // _WINDOW_SAMPLES)


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech with a little silence at both ends."""

    samples: Samples
    """Mono PCM16 at 16 kHz."""
    begins: float
    """First voiced sample, in seconds of audio since the first pushed."""
    ends: float
    """Last voiced sample, likewise."""


class SpeechBuffer:
    """One caller's audio, of which it keeps what is speech until that is taken."""

    def __init__(self) -> None:
        self._vad = local_inference.VAD()
        self._remainder: Samples = np.empty(0, np.int16)
        self._position = 0
        """Samples seen, in whole windows."""
        self._around: deque[Samples] = deque(maxlen=_MIN_UNVOICED_WINDOWS)
        """The latest windows that aren't kept: lead-in, pause or tail, as it turns out."""
        self._kept: list[Samples] = []
        self._voiced = 0
        """Voiced windows in a row."""
        self._unvoiced = _MIN_UNVOICED_WINDOWS
        """Unvoiced windows in a row."""
        self._begins = 0
        self._ends = 0
        self._audible = False
        self._noise = 0.0
        """Level of the room before the speech."""

    @property
    def full(self) -> bool:
        """True when there is as much speech as is recognised in one piece."""
        return len(self._kept) * _WINDOW_SAMPLES >= MAX_SPEECH_SECONDS * SAMPLE_RATE_HZ

    @property
    def paused(self) -> float:
        """Length in seconds of the silence since the speech that is kept; 0 if there is none."""
        return self._unvoiced * _WINDOW_SAMPLES / SAMPLE_RATE_HZ if self._kept else 0.0

    def push(self, samples: Samples) -> None:
        """Listen to the next samples: mono PCM16 at 16 kHz, any number of them."""
        samples = np.concatenate((self._remainder, samples))
        whole = len(samples) - len(samples) % _WINDOW_SAMPLES
        for start in range(0, whole, _WINDOW_SAMPLES):
            self._listen(samples[start : start + _WINDOW_SAMPLES])
        self._remainder = samples[whole:]

    def take(self) -> Utterance | None:
        """The speech since it was last taken, or None if there was none."""
        utterance = self.look()
        self._kept = []
        self._audible = False
        return utterance

    def look(self) -> Utterance | None:
        """What would be taken; it stays."""
        if not self._kept:
            return None
        return Utterance(
            np.concatenate((*self._kept, *self._around)),
            begins=self._begins / SAMPLE_RATE_HZ,
            ends=self._ends / SAMPLE_RATE_HZ,
        )

    def _listen(self, window: Samples) -> None:
        probability = self._vad.predict(window)
        in_speech = self._unvoiced < _MIN_UNVOICED_WINDOWS
        self._around.append(window)
        self._position += _WINDOW_SAMPLES
        if probability >= ACTIVATION_PROBABILITY or (
            in_speech and probability > DEACTIVATION_PROBABILITY
        ):
            self._voiced += 1
            if in_speech or self._voiced >= _MIN_VOICED_WINDOWS:
                self._keep(window)
        else:
            self._voiced = 0
            self._unvoiced += 1

    def _keep(self, window: Samples) -> None:
        """Keep the window, which is voiced, and those that lead to it."""
        if not self._kept:
            in_speech = self._unvoiced < _MIN_UNVOICED_WINDOWS
            if not in_speech:
                self._noise = noise_level(list(self._around)[:-_MIN_VOICED_WINDOWS])
            self._begins = self._position - _WINDOW_SAMPLES * (
                1 if in_speech else _MIN_VOICED_WINDOWS
            )
        self._kept.extend(self._around)
        self._around.clear()
        self._unvoiced = 0
        # the detector is 50 to 110 ms late in noticing the end of speech, the samples are not; in
        # noise it is later still, and every window has samples that can be heard
        loud = audible(window, self._noise)
        if loud.size:
            self._ends = self._position - _WINDOW_SAMPLES + int(loud[-1]) + 1
            self._audible = True
        elif not self._audible:  # somebody speaks very softly: the detector is all there is
            self._ends = self._position
