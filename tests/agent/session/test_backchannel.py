"""Sounds and words."""

from __future__ import annotations

import pytest
from livekit.agents import Agent, AgentSession

from agent.session.backchannel import Backchannel, is_sound


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


async def test_an_agent_that_comes_back_is_attended_once() -> None:
    """A call may be handed back to it: its sounds are left out by one node, not by one more."""
    backchannel, agent = Backchannel(AgentSession()), Agent(instructions="Be brief.")
    backchannel.attend(agent)
    node = agent.stt_node
    backchannel.attend(agent)
    assert agent.stt_node is node
