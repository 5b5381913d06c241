"""The words that a caller heard: the agent's, cut to the part played when it was interrupted.

LiveKit takes the truth about an interrupted speech from the ``synchronized_transcript`` of its
audio output. :class:`HeardOutput` stands before a transport's output and gives it, from where the
playback stopped and from the text, which LiveKit forwards with the time of each sentence (each
word, if the voice says so). Within a piece of text, time goes by letters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from livekit.agents.types import TimedString
from livekit.agents.utils import is_given
from livekit.agents.voice import io

if TYPE_CHECKING:
    from collections.abc import Sequence

    from livekit import rtc

LETTERS_PER_SECOND: Final = 15.0
"""Pace of a voice, where nothing better is known."""
_WORD: Final = re.compile(r"\s*\S+")


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a speech; ``starts`` and ``ends`` are seconds of its audio, None if not known."""

    text: str
    starts: float | None = None
    ends: float | None = None

    @classmethod
    def of(cls, text: str) -> Piece:
        """Take text that LiveKit forwards, with the times it may carry."""
        if not isinstance(text, TimedString):
            return cls(text)
        return cls(
            str(text),
            text.start_time if is_given(text.start_time) else None,
            text.end_time if is_given(text.end_time) else None,
        )


def heard(pieces: Sequence[Piece], *, played: float, synthesised: float) -> str:
    """The words of a speech that were heard when ``played`` of its seconds were.

    ``synthesised`` is how many seconds of audio there are so far. A word counts when the whole of
    it was played.
    """
    spans: list[Piece] = []
    for piece in pieces:  # text without a time belongs to the piece before it
        if spans and piece.starts is None:
            before = spans[-1]
            spans[-1] = Piece(before.text + piece.text, before.starts, piece.ends)
        else:
            spans.append(piece)
    words = ""
    for index, span in enumerate(spans):
        starts = span.starts or 0.0
        ends = span.ends or (spans[index + 1].starts if index + 1 < len(spans) else None)
        if ends is None:
            usual = len(span.text) / LETTERS_PER_SECOND
            is_all = synthesised - starts > usual / 2  # less is the beginning of it
            ends = synthesised if is_all else starts + usual
        if played < ends:
            share = (played - starts) / (ends - starts) if ends > starts else 0.0
            return (words + _beginning(span.text, share)).rstrip()
        words += span.text
    return words.rstrip()


def _beginning(text: str, share: float) -> str:
    """The whole words within this share of the text."""
    ends = [word.end() for word in _WORD.finditer(text) if word.end() <= share * len(text)]
    return text[: ends[-1]] if ends else ""


@dataclass(slots=True)
class _Speech:
    """One speech: its text and how much audio there is of it."""

    pieces: list[Piece] = field(default_factory=list)
    synthesised: float = 0.0
    has_all_text: bool = False
    has_all_audio: bool = False


class HeardText(io.TextOutput):
    """The output to which LiveKit forwards the words of the speech that is being said."""

    def __init__(self, speech: _Speech) -> None:
        super().__init__(label="Heard", next_in_chain=None)
        self._speech = speech

    async def capture_text(self, text: str) -> None:
        """Take the next words."""
        if self._speech.has_all_text:  # a new speech begins
            self._speech.has_all_text = False
            self._speech.pieces.clear()
        self._speech.pieces.append(Piece.of(text))

    def flush(self) -> None:
        """Note that the speech has all its words."""
        self._speech.has_all_text = True


class HeardOutput(io.AudioOutput):
    """A transport's audio output that tells the words heard of each speech.

    Its :attr:`text` is to be the session's transcription output, so that it learns the words.
    """

    def __init__(self, output: io.AudioOutput) -> None:
        super().__init__(
            label="Heard",
            capabilities=io.AudioOutputCapabilities(pause=True),
            next_in_chain=output,
            sample_rate=output.sample_rate,
        )
        self._speech = _Speech()
        self.text = HeardText(self._speech)

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Pass audio on."""
        await super().capture_frame(frame)
        if self._speech.has_all_audio:  # a new speech begins
            self._speech.has_all_audio = False
            self._speech.synthesised = 0.0
        self._speech.synthesised += frame.duration
        assert self.next_in_chain is not None
        await self.next_in_chain.capture_frame(frame)

    def flush(self) -> None:
        """Note that the speech has all its audio."""
        super().flush()
        self._speech.has_all_audio = True
        assert self.next_in_chain is not None
        self.next_in_chain.flush()

    def clear_buffer(self) -> None:
        """Stop at once."""
        assert self.next_in_chain is not None
        self.next_in_chain.clear_buffer()

    def on_playback_finished(
        self,
        *,
        playback_position: float,
        interrupted: bool,
        synchronized_transcript: str | None = None,
    ) -> None:
        """Report a speech that has played or was cut, with the words heard of it."""
        speech = self._speech
        if interrupted and synchronized_transcript is None:
            synchronized_transcript = heard(
                speech.pieces,
                played=playback_position,
                synthesised=speech.synthesised,
            )
        super().on_playback_finished(
            playback_position=playback_position,
            interrupted=interrupted,
            synchronized_transcript=synchronized_transcript,
        )
