"""Tools that don't come to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from livekit.agents import Agent, function_tool, llm

from telemetry import attributes as names

from .call import Call, calling
from .providers import Mind, Reply, Thought
from .tree import above, complete, only, turns

if TYPE_CHECKING:
    from telemetry.testing import Captured


class Cook(Agent):
    """Has one tool."""

    @function_tool
    async def cook(self, dish: str) -> str:
        """Cook it."""
        return f"A {dish}"


class Muddled(Thought):
    """Gives arguments that are none."""

    async def _run(self) -> None:
        mind = self._llm
        assert isinstance(mind, Muddle)
        if not mind.muddled:
            await super()._run()
            return
        mind.muddled = False
        call = llm.FunctionToolCall(name="cook", arguments="[", call_id="cook_call")
        delta = llm.ChoiceDelta(role="assistant", tool_calls=[call])
        self._event_ch.send_nowait(llm.ChatChunk(id="request", delta=delta))


class Muddle(Mind):
    """A model that gives arguments that are none, once."""

    muddled = True

    def chat(self, **options: Any) -> Muddled:
        return Muddled(
            self,
            chat_ctx=options["chat_ctx"],
            tools=options.get("tools") or [],
            conn_options=options["conn_options"],
        )


@pytest.mark.parametrize("which", ["unknown", "muddled"])
async def test_a_tool_that_cannot_be_called(captured: Captured, which: str) -> None:
    """Is a span that has failed, where it was asked for."""
    call = (
        Call({"Cook": Reply(tools={"bake": {}})}) if which == "unknown" else Call(model=Muddle({}))
    )
    async with calling(call, Cook(instructions="Be brief.")):
        await call.asks("Cook")
    [spans] = complete(captured)
    tool = only(spans, names.OP_TOOL)
    [turn] = turns(spans)
    named = "bake" if which == "unknown" else "cook"
    assert (tool.name, tool.status) == (f"execute_tool {named}", "internal_error")
    assert tool.attributes[names.GEN_AI_TOOL_NAME] == named
    assert above(spans, tool, names.OP_INVOKE_AGENT) is not None
    assert above(spans, tool, names.OP_TURN) == turn
    [outcome] = [item for item in call.session.history.items if item.type == "function_call_output"]
    assert tool.attributes[names.GEN_AI_TOOL_CALL_RESULT] == outcome.output
