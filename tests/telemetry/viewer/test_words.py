"""Words lie where they were said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.viewer.words import placed


def test_words_share_the_time_by_their_length() -> None:
    """The first begins with the speech, the last ends with it, and none overlaps another."""
    words = placed("a considerable word", [(1.0, 3.0)])
    assert [word["text"] for word in words] == ["a", "considerable", "word"]
    assert (words[0]["at"], words[-1]["until"]) == (1.0, 3.0)
    assert words[1]["until"] - words[1]["at"] > 2 * (words[2]["until"] - words[2]["at"])
    assert [word["at"] for word in words[1:]] == [word["until"] for word in words[:-1]]


def test_no_word_lies_in_a_pause() -> None:
    """Where the voice pauses, a word ends, and the next begins when it goes on."""
    words = placed("Are you open? On Sunday.", [(2.0, 2.6), (2.9, 3.5)])
    assert words[2]["until"] == 2.6
    assert words[3]["at"] == 2.9


def test_people_pause_at_the_end_of_a_sentence() -> None:
    """Of two words that could end at a pause it is the one before a mark."""
    words = placed("One moment, oh please do", [(0.0, 1.0), (1.5, 2.4)])
    assert words[1]["until"] == 1.0
    assert words[2]["at"] == 1.5


def test_nothing_said_nothing_placed() -> None:
    assert placed("  ", [(0.0, 1.0)]) == []
    assert placed("word", []) == []


def test_a_speech_without_length() -> None:
    """A typed turn is at one moment."""
    assert placed("Hello there", [(1.0, 1.0)]) == [
        {"text": "Hello", "at": 1.0, "until": 1.0},
        {"text": "there", "at": 1.0, "until": 1.0},
    ]


@given(
    st.text(max_size=200),
    st.lists(st.floats(0.0, 60.0), min_size=2, max_size=12).map(sorted),
)
def test_whatever_was_said(text: str, times: list[float]) -> None:
    """All words are there, in order, within the speech."""
    voiced = list(zip(times[::2], times[1::2], strict=False))
    words = placed(text, voiced)
    assert [word["text"] for word in words] == text.split()
    moments = [moment for word in words for moment in (word["at"], word["until"])]
    assert moments == sorted(moments)
    if moments:
        assert moments[0] >= round(times[0], 3)
        assert moments[-1] <= times[-1] + 0.001
