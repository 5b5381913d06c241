"""The cost of a call: on its spans, and as a total on the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry import attributes as names
from telemetry.integrations.livekit import Prices

from .call import Call, calling
from .providers import Mind
from .test_realtime import Seance, Seer
from .tree import complete, only, turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telemetry.testing import Captured

COST = names.USAGE + "cost"
SPEECH = {"ear-1": {"minute": 0.6}, "tone-1": {"1000_characters": 2.0}}


class TwoDollars(Prices):
    """Each token costs two dollars; a model called unknown has no price."""

    def of_tokens(
        self, model: str, provider: str | None, usage: Mapping[str, float]
    ) -> float | None:
        known = (names.GEN_AI_USAGE_INPUT_TOKENS, names.GEN_AI_USAGE_OUTPUT_TOKENS)
        return None if model == "unknown" else 2.0 * sum(usage.get(name, 0) for name in known)


async def test_what_a_call_costs(captured: Captured) -> None:
    """Tokens, recognition and synthesis; the speech, the turn and the conversation sum them up."""
    call = Call({"Hello": "Good evening", "Well": "Well"})
    async with calling(call, prices=TwoDollars(SPEECH)):
        await call.asks("Hello")
        await call.asks("Well")
    [spans] = complete(captured)
    chats = [span for span in spans if span.op == names.OP_CHAT]
    assert [chat.attributes[names.GEN_AI_COST] for chat in chats] == [24.0, 24.0]
    heard = [span.attributes[names.STT_COST] for span in spans if span.op == names.OP_STT]
    assert heard == pytest.approx([0.01, 0.01])
    said = [span.attributes[names.TTS_COST] for span in spans if span.op == names.OP_TTS]
    assert said == pytest.approx([0.024, 0.008])
    first, second = turns(spans)
    assert first.attributes[COST] == pytest.approx(24.034)
    assert second.attributes[COST] == pytest.approx(24.018)
    runs = [span.attributes[COST] for span in spans if span.op == names.OP_INVOKE_AGENT]
    assert runs == pytest.approx([24.024, 24.008])
    about = only(spans, names.OP_CONVERSATION).attributes
    assert about[COST] == pytest.approx(48.052)
    assert names.UNPRICED not in about


async def test_what_has_no_price_has_no_cost(captured: Captured) -> None:
    """Which isn't 0; the conversation names the models."""
    call = Call({"Hello": "Good evening"}, model=Mind({}, model="unknown"))
    async with calling(call, prices=TwoDollars()):
        await call.asks("Hello")
    [spans] = complete(captured)
    assert not [name for span in spans for name in span.attributes if "cost" in name]
    unpriced = only(spans, names.OP_CONVERSATION).attributes[names.UNPRICED]
    assert sorted(unpriced) == ["ear-1", "tone-1", "unknown"]


async def test_without_prices_nothing_is_said_of_cost(captured: Captured) -> None:
    """By default."""
    call = Call({"Hello": "Good evening"})
    async with calling(call):
        await call.asks("Hello")
    [spans] = complete(captured)
    said = {name for span in spans for name in span.attributes}
    assert not {COST, names.GEN_AI_COST, names.UNPRICED} & said


async def test_a_realtime_models_answer_costs_once(captured: Captured) -> None:
    """All of its tokens together, when it tells of them."""
    call = Seance()
    async with calling(call, Seer(), prices=TwoDollars()):
        await call.hears("What will be", "Who knows")
    [spans] = complete(captured)
    assert only(spans, names.OP_CHAT).attributes[names.GEN_AI_COST] == 100.0
    assert only(spans, names.OP_CONVERSATION).attributes[COST] == 100.0
