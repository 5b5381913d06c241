"""Several agents in one conversation: handed over, and tasks within an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livekit.agents import Agent, function_tool

from telemetry import attributes as names

from .agents import Name
from .call import Call, calling
from .providers import Reply
from .tree import above, complete, shape, turns

if TYPE_CHECKING:
    from telemetry.testing import Captured


class Cashier(Agent):
    """Takes over, and hands back."""

    def __init__(self, host: Agent) -> None:
        super().__init__(instructions="Take the money.")
        self._host = host

    async def on_enter(self) -> None:
        """Introduce oneself."""
        await self.session.say("The cashier speaking")

    @function_tool
    async def done(self) -> str:
        """Hand the call back."""
        self.session.update_agent(self._host)
        return "Paid"


class Desk(Agent):
    """Hands the call over, or asks for a name in between."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    @function_tool
    async def pay(self) -> Agent:
        """Hand the call over."""
        return Cashier(self)

    @function_tool
    async def book(self) -> str:
        """Ask for a name, in a task of its own."""
        return f"Booked for {await Name()}"


async def test_a_call_handed_over_and_back(captured: Captured) -> None:
    """The next agent's first words answer what the caller asked of the one before."""
    call = Call(
        {
            "Pay": Reply(tools={"pay": {}}),
            "Keep the change": Reply(tools={"done": {}}),
            "Paid": "Thank you",
            "Bye": "See you",
        }
    )
    async with calling(call, Desk()):
        await call.asks("Pay")
        await call.asks("Keep the change")
        await call.asks("Bye")
    [spans] = complete(captured)
    paid, changed, bye = turns(spans)
    assert [turn.attributes[names.TURN_INITIATOR] for turn in (paid, changed, bye)] == ["user"] * 3
    assert all(turn.attributes[names.RESPONSE_LATENCY] > 0 for turn in (paid, changed, bye))
    assert shape(spans, "conversation.turn")[:8] == [
        "conversation.turn",
        "  conversation.response",
        "  gen_ai.invoke_agent",
        "    agent.speech",
        "    tts.synthesize",
        "  gen_ai.invoke_agent",
        "    gen_ai.chat",
        "    gen_ai.execute_tool pay",
    ]
    said = [span for span in spans if span.op == names.OP_INVOKE_AGENT]
    assert [span.name for span in sorted(said, key=lambda span: span.started_at)] == [
        "invoke_agent desk",
        "invoke_agent cashier",
        "invoke_agent cashier",
        "invoke_agent desk",
    ]
    assert [turn.attributes[names.GEN_AI_AGENT_NAME] for turn in (paid, changed, bye)] == [
        "cashier",
        "cashier",
        "desk",
    ]
    handoffs = [span for span in spans if span.op == names.OP_HANDOFF]
    assert [
        (span.attributes[names.PREVIOUS_AGENT], span.attributes[names.GEN_AI_AGENT_NAME], span.name)
        for span in sorted(handoffs, key=lambda span: span.started_at)
    ] == [
        ("desk", "cashier", "handoff from desk to cashier"),
        ("cashier", "desk", "handoff from cashier to desk"),
    ]
    handover = [
        "gen_ai.handoff",
        "  livekit.drain_agent_activity",
        "    livekit.on_exit",
        "  livekit.start_agent_activity",
        "    livekit.on_enter",
        "    livekit.setup_toolsets",
    ]
    assert shape(spans, "gen_ai.handoff") == handover * 2


async def test_a_task_within_an_agent(captured: Captured) -> None:
    """What a task asks is in the turn whose tool started it; what the caller says is their own."""
    call = Call(
        {
            "Book": Reply(tools={"book": {}}),
            "Anna": Reply(tools={"named": {}}),
            "Booked for Anna": "See you tonight",
        }
    )
    async with calling(call, Desk()):
        await call.asks("Book")
        await call.asks("Anna")
    [spans] = complete(captured)
    booked, named = turns(spans)
    called = [span for span in spans if span.op == names.OP_TOOL]
    tools = {span.attributes[names.GEN_AI_TOOL_NAME]: span for span in called}
    assert above(spans, tools["book"], "conversation.turn") == booked
    assert above(spans, tools["named"], "conversation.turn") == named
    for turn in (booked, named):
        assert turn.attributes[names.RESPONSE_LATENCY] > 0
    assert shape(spans, "gen_ai.handoff") == [
        "gen_ai.handoff",
        "  livekit.pause_agent_activity",
        "  livekit.start_agent_activity",
        "    livekit.on_enter",
        "    livekit.setup_toolsets",
        "gen_ai.handoff",
        "  livekit.drain_agent_activity",
        "    livekit.on_exit",
        "  livekit.resume_agent_activity",
    ]
