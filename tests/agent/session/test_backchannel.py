"""Sounds and words."""

from __future__ import annotations

import pytest

from agent.session.backchannel import is_sound


@pytest.mark.parametrize(
    "heard", ["Mm-hmm.", "Uh huh", "Uh?", "Ah,", "And.", "Hmm", "You", "...", ""]
)
def test_sounds(heard: str) -> None:
    """What a listener hums, as recognition spells it, is no words."""
    assert is_sound(heard)


@pytest.mark.parametrize("heard", ["Yes.", "No", "Wait.", "Uh, four people", "Okay", "Thank you"])
def test_words(heard: str) -> None:
    """Whatever could be an answer is words, and so is any word among sounds."""
    assert not is_sound(heard)
