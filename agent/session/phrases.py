"""Phrases of any conversation, whatever it is about: for silence, waiting and farewell.

An agent class gives its own with an attribute::

    class Concierge(Agent):
        manners: ClassVar[Manners] = Manners(patience="Let me see.")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .line import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from livekit.agents import Agent

    from agent.providers import Script


@dataclass(frozen=True, slots=True)
class Manners:
    """An agent's words for when the conversation itself needs some."""

    reprompts: tuple[str, ...] = (
        "Are you still there?",
        "I'm sorry, I can't hear you. Are you still there?",
    )
    """Questions to a silent caller, one after the other."""
    idle: str = "I still can't hear you, so I will hang up now. Goodbye."
    """Farewell to a caller who stayed silent."""
    time_limit: str = "I'm sorry, we have reached the time limit of this call. Goodbye."
    shutdown: str = "I'm sorry, I have to end this call now. Goodbye."
    apology: str = "I'm sorry, something went wrong. Could you say that again?"
    """Words for a reply that failed with the language model, or that was given up."""
    patience: str = "One moment, please."
    """Words for a tool that takes its time."""
    patience_after: float = 1.5
    """Seconds a tool may take before the caller is told."""
    tool_limit: float | None = 20.0
    """Seconds a tool may take before it is given up; None for agents whose tools hold
    conversations of their own."""
    reply_limit: float | None = 20.0
    """Seconds that a reply may take until its first word; then it is given up, with the apology.
    Waiting for a tool doesn't count. None for no limit."""
    tool_given_up: str = "I'm sorry, that takes longer than it should. Please try again later."
    """The failure of a tool that was given up, for the model or for the caller."""

    def farewell(self, outcome: Outcome) -> str | None:
        """Words to end a conversation with, for this outcome; None when nobody would hear them."""
        match outcome:
            case Outcome.IDLE:
                return self.idle
            case Outcome.TIME_LIMIT:
                return self.time_limit
            case Outcome.SHUTDOWN:
                return self.shutdown
            case _:
                return None


def manners_of(agent: Agent | type[Agent]) -> Manners:
    """The agent's own manners, or everybody's."""
    return getattr(agent, "manners", None) or Manners()


def usual_sentences(agent: type[Agent], script: Script | None = None) -> tuple[str, ...]:
    """Sentences that are said in many calls word for word: a voice on this machine has them ready
    before anybody waits for them. First the agent's own, which its class gives with an attribute::

        class Concierge(Agent):
            usual: ClassVar[Sequence[str]] = ("Hotel Aurora, how can I help?",)

    Then those of its script, if that stands in for a language model: it gives them likewise.
    """
    own: Sequence[str] = getattr(agent, "usual", ())
    scripted: Sequence[str] = getattr(script, "usual", ())
    words = manners_of(agent)
    return (
        *own,
        *scripted,
        *(words.patience, words.apology, *words.reprompts, words.tool_given_up),
        *(words.idle, words.time_limit, words.shutdown),
    )
