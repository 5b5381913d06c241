"""The cost of a call: on the spans that cost something, and summed up where they belong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import attributes as names
from .livekit_span import speech_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...trace.conversation import Conversation
    from ...trace.span import Span
    from .prices import Prices
    from .turn import Turn
    from .turns import Turns


class Charges:
    """The charges of one session, by prices that somebody has given; without them there are none.

    A model that has no price is named on the conversation: its cost is that of the others.
    """

    def __init__(self, prices: Prices | None, turns: Turns, conversation: Conversation) -> None:
        self._prices = prices
        self._turns = turns
        self._conversation = conversation
        self._unpriced: dict[str, None] = {}

    def tokens(
        self, span: Span, turn: Turn | None, usage: Mapping[str, Any], about: Mapping[str, Any]
    ) -> None:
        """Charge the tokens of a request, whose attributes say which model took it."""
        if self._prices is None:
            return
        asked = about.get(names.GEN_AI_REQUEST_MODEL)
        model = str(asked or about.get(names.GEN_AI_RESPONSE_MODEL))
        used = {name: n for name, n in usage.items() if name.startswith("gen_ai.usage.") and n}
        provider = about.get(names.GEN_AI_PROVIDER_NAME)
        cost = self._prices.of_tokens(model, provider, used) if used else 0.0
        self._charge(span, turn, names.GEN_AI_COST, model, cost)

    def speech(
        self,
        span: Span,
        turn: Turn | None,
        name: str,
        model: str,
        *,
        seconds: float | None = None,
        characters: float | None = None,
    ) -> None:
        """Charge recognition or synthesis, under this attribute's name."""
        if self._prices is None:
            return
        if not self._prices.knows_speech(model):
            self._charge(span, turn, name, model, None)
            return
        cost = self._prices.of_speech(model, seconds=seconds, characters=characters)
        self._charge(span, turn, name, model, cost or 0.0)  # it may be charged by the other

    def _charge(
        self, span: Span, turn: Turn | None, name: str, model: str, cost: float | None
    ) -> None:
        if cost is None:
            self._unpriced[model] = None
            self._conversation.set({names.UNPRICED: list(self._unpriced)})
        elif cost:
            span.set({name: span.attributes.get(name, 0.0) + cost})
            self._turns.used(turn, "cost", cost)
            sum_up(span, "cost", cost)


def sum_up(span: Span, name: str, amount: float) -> None:
    """Add to what a speech has used; names as under :data:`telemetry.attributes.USAGE`."""
    speech = speech_of(span)
    if speech is not None:
        sum_of = names.USAGE + name
        speech.set({sum_of: speech.attributes.get(sum_of, 0) + amount})
