"""Something that a caller says in one turn: a recording, or several with pauses between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

from agent.audio import audible
from agent.simulator.audio import SAMPLE_RATE_HZ, Speech

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

PAUSE_VARIES: Final = 0.1
"""Share of a pause by which it is made longer or shorter, at most: no two people think alike."""
_SAMPLE_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Sentence:
    """The pieces of what is said, and the pauses between them.

    A pause lasts from the last sample of one piece that can be heard to the first one of the next,
    whatever silence the recordings have at their ends.
    """

    pieces: tuple[Speech, ...]
    pauses_ms: tuple[int, ...] = ()
    """One fewer than there are pieces."""

    @property
    def path(self) -> Path:
        """The first recording."""
        return self.pieces[0].path

    @property
    def pcm(self) -> bytes:
        """All of it, PCM16."""
        said = self.pieces[0].pcm
        for (one, other), pause in zip(pairwise(self.pieces), self.pauses_ms, strict=True):
            said = said[: len(said) - len(_tail(one.pcm))] + _gap(one.pcm, other.pcm, pause)
            said += other.pcm[len(_head(other.pcm)) :]
        return said

    @property
    def speech(self) -> Speech:
        """All of it as one recording."""
        return Speech(self.path, self.pcm)

    @property
    def seconds(self) -> float:
        """Length of it, pauses included."""
        return self.speech.seconds

    def varied(self, chance: np.random.Generator) -> Self:
        """The same with each pause made a little longer or shorter, by :data:`PAUSE_VARIES`."""
        longer = (1 + chance.uniform(-PAUSE_VARIES, PAUSE_VARIES) for _ in self.pauses_ms)
        varied = (round(ms * by) for ms, by in zip(self.pauses_ms, longer, strict=True))
        return replace(self, pauses_ms=tuple(varied))


def _gap(before: bytes, after: bytes, pause_ms: int) -> bytes:
    """A pause: the recordings' own silence, as much as there is room for, the rest without a sound.

    The last sound of a word, and the first, go on too faintly to count as heard: they stay.
    """
    size = _SAMPLE_BYTES * round(pause_ms / 1000 * SAMPLE_RATE_HZ)
    tail, head = _tail(before)[:size], _head(after)
    head = head[max(0, len(head) - (size - len(tail))) :]
    return tail + bytes(size - len(tail) - len(head)) + head


def _tail(pcm: bytes) -> bytes:
    """The samples after the last one that can be heard."""
    return pcm[_SAMPLE_BYTES * (int(audible(pcm)[-1]) + 1) :]


def _head(pcm: bytes) -> bytes:
    """The samples before the first one that can be heard."""
    return pcm[: _SAMPLE_BYTES * int(audible(pcm)[0])]
