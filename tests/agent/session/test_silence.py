"""When a silent caller is asked again: a double stands for a LiveKit session that is too slow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from livekit import rtc
from livekit.agents import UserInputTranscribedEvent, UserStateChangedEvent

import telemetry
from agent.session import Manners
from agent.session.silence import SilenceWatch

if TYPE_CHECKING:
    from livekit.agents import AgentSession

    from telemetry.testing import Captured


class _Agent:
    manners = Manners()


class _Spoken:
    def add_done_callback(self, function: Any) -> None:
        """Never done."""


class _Session(rtc.EventEmitter[str]):
    current_agent = _Agent()

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.resets = 0

    def say(self, words: str) -> _Spoken:
        self.said.append(words)
        return _Spoken()

    def reset_away_timer(self) -> None:
        self.resets += 1

    def user(self, old: Any, new: Any) -> None:
        self.emit("user_state_changed", UserStateChangedEvent(old_state=old, new_state=new))


async def test_who_awaits_an_answer_is_not_silent(captured: Captured) -> None:
    """A period of silence after a sound, and four after words, are the agent's; then it asks."""
    session = _Session()
    async with telemetry.conversation("call") as conversation:
        SilenceWatch(cast("AgentSession[None]", session), conversation, on_idle=lambda: None)
        session.user("listening", "speaking")
        session.user("listening", "away")
        assert (session.said, session.resets) == ([], 1)
        words = UserInputTranscribedEvent(transcript="Hello?", is_final=True)
        session.emit("user_input_transcribed", words)
        for _ in range(4):
            session.user("listening", "away")
        assert (session.said, session.resets) == ([], 5)
        session.user("listening", "away")
    assert session.said == ["Are you still there?"]
