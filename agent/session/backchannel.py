"""Sounds a listener makes while the agent talks: heard, and not taken for words.

Recognition hears something in any voice: a hum becomes "Uh?" or "You", a cough "And." An utterance
over the agent's speech that is nothing but such sounds is left out before LiveKit sees it, so the
speech, paused meanwhile, goes on. When the agent is silent nothing is left out: "uh-huh" may be an
answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from livekit.agents import stt

from .listeners import listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator
    from typing import Any

    from livekit import rtc
    from livekit.agents import Agent, AgentSession, ModelSettings, UserStateChangedEvent

SOUNDS: Final = frozenset(
    {
        *("a", "ah", "aha", "ahem", "and", "eh", "er", "ha", "hm", "hmm", "huh", "hum", "m", "mhm"),
        *("mm", "mmm", "oh", "ooh", "uh", "uhm", "um", "umm", "you"),
    }
)
_WORDS: Final = re.compile(r"[a-z]+")
_TRANSCRIPTS: Final = frozenset(
    {
        stt.SpeechEventType.INTERIM_TRANSCRIPT,
        stt.SpeechEventType.PREFLIGHT_TRANSCRIPT,
        stt.SpeechEventType.FINAL_TRANSCRIPT,
    }
)


def is_sound(words: str) -> bool:
    """True when these are no words, only sounds: "Mm-hmm.", "Uh huh", "Ah,"."""
    return all(word in SOUNDS for word in _WORDS.findall(words.lower()))


class Backchannel:
    """A filter that leaves sounds out of the words a session's agents hear while they talk.

    An utterance is over the agent's speech when it began while a speech was being said or prepared.
    """

    def __init__(self, session: AgentSession[None]) -> None:
        self._session = session
        self._over_speech = False
        listen(session, "user_state_changed", self._user_state)

    def _user_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            speech = self._session.current_speech
            self._over_speech = speech is not None and not speech.interrupted

    def attend(self, agent: Agent) -> None:
        """Leave sounds out of the words this agent hears."""
        if "stt_node" in vars(agent):
            return  # it comes back to the conversation
        hear = agent.stt_node

        async def stt_node(
            audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
        ) -> AsyncIterator[stt.SpeechEvent | str]:
            events: Any = hear(audio, model_settings)
            if not hasattr(events, "__aiter__"):
                events = await events
            async for event in events:
                if not self._is_overheard(event):
                    yield event

        # the public node, on the object: LiveKit looks there, and at the class for what is custom
        agent.stt_node = stt_node  # type: ignore[method-assign]

    def _is_overheard(self, event: stt.SpeechEvent | str) -> bool:
        if not self._over_speech or isinstance(event, str) or event.type not in _TRANSCRIPTS:
            return False
        return all(is_sound(said.text) for said in event.alternatives)
