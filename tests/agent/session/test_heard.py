"""What was heard of a speech that was cut: whole words, up to where the playback stopped."""

from __future__ import annotations

from typing import Final

import pytest
from livekit.agents.types import TimedString

from agent.session.heard import Piece, heard

ONE: Final = "We are open today. "
TWO: Final = "We close at ten."


def test_sentences_with_times_are_exact() -> None:
    """A sentence counts in full at its end, and the next one word by word."""
    pieces = [Piece(ONE, 0.0), Piece(TWO, 1.9)]
    assert heard(pieces, played=1.9, synthesised=3.5) == ONE.rstrip()
    assert heard(pieces, played=2.8, synthesised=3.5) == f"{ONE}We close"
    assert heard(pieces, played=3.5, synthesised=3.5) == ONE + TWO
    assert heard(pieces, played=0.0, synthesised=3.5) == ""


def test_words_with_times_count_when_they_are_over() -> None:
    """A voice that times its words is taken at its word."""
    pieces = [Piece("Wait ", 0.0, 0.3), Piece("a ", 0.3, 0.4), Piece("moment.", 0.4, 1.0)]
    assert heard(pieces, played=0.35, synthesised=1.0) == "Wait"
    assert heard(pieces, played=0.9, synthesised=1.0) == "Wait a"


@pytest.mark.parametrize("synthesised", [3.5, 0.4])
def test_text_without_times_goes_by_letters(synthesised: float) -> None:
    """With all the audio there by its length, with its beginning only by a voice's usual pace."""
    said = heard([Piece(ONE), Piece(TWO)], played=0.4, synthesised=synthesised)
    assert (ONE + TWO).startswith(said)
    assert 0 < len(said) < 8


def test_pieces_are_what_livekit_forwards() -> None:
    """Plain text has no times; timed text may have either."""
    assert Piece.of("plain") == Piece("plain")
    assert Piece.of(TimedString("timed", start_time=1.0)) == Piece("timed", 1.0, None)
    assert Piece.of(TimedString("timed", start_time=1.0, end_time=2.0)).ends == 2.0
