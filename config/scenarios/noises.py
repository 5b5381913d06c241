"""Sounds people make that are no words, synthesised: an agent must not take them for a turn.

Each is a function without arguments that gives samples at :data:`RATE_HZ`, the same ones each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

RATE_HZ: Final = 16_000
_THROAT_HZ: Final = (500, 1500, 2500)
"""Resonances of an open throat, Hz, so wide that no vowel is heard in them."""
_THROAT_WIDTH_HZ: Final = 600
_NOSE: Final = ((250, 1.0, 80), (600, 0.1, 100))
"""Resonances when humming: Hz, how strong, how wide."""


def cough() -> NDArray[np.float64]:
    """Two coughs: bursts of air. The voice detector hears no voice in it."""
    rng = np.random.default_rng(2)
    parts = []
    for seconds in (0.22, 0.28):
        at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        frequency = np.fft.rfftfreq(at.size, 1 / RATE_HZ)
        throat = sum(
            1 / (1 + ((frequency - resonance) / _THROAT_WIDTH_HZ) ** 2) for resonance in _THROAT_HZ
        )
        air = np.fft.irfft(np.fft.rfft(rng.standard_normal(at.size)) * throat, at.size)
        parts += [
            air * (1 - np.exp(-at / 0.004)) * np.exp(-at / 0.07),
            np.zeros(RATE_HZ // 10),
        ]
    return np.concatenate(parts)


def mm_hm() -> NDArray[np.float64]:
    """Mm-hm: a hum that falls and one that rises. It is a voice, and says "go on"."""
    parts = []
    for first, last, seconds in ((150.0, 140.0, 0.25), (150.0, 190.0, 0.35)):
        at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        pitch = np.linspace(first, last, at.size)
        phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
        hum = np.zeros(at.size)
        for harmonic in range(1, 30):
            hertz = harmonic * pitch
            strength = sum(g / (1 + ((hertz - c) / w) ** 2) for c, g, w in _NOSE)
            hum += np.sin(harmonic * phase) * strength / np.sqrt(harmonic) * (hertz < 7000)
        parts += [hum * np.clip(np.minimum(at / 0.04, (seconds - at) / 0.06), 0, 1)]
        parts += [np.zeros(round(0.04 * RATE_HZ))]
    return np.concatenate(parts)


NOISES: Final[Mapping[str, Callable[[], NDArray[np.float64]]]] = {"cough": cough, "mm-hm": mm_hm}
"""The noises, by the name of the file they are in."""
