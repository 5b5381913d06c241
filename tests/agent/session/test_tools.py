"""The time limit of tools."""

from __future__ import annotations

from typing import Any, ClassVar

import anyio
import pytest
from livekit.agents import Agent, function_tool, llm

from agent.session import Manners
from agent.session.tools import limit_tools


class Hasty(Agent):
    """An agent of little patience."""

    manners: ClassVar[Manners] = Manners(tool_limit=0.01, tool_given_up="It takes too long.")

    def __init__(self) -> None:
        super().__init__(instructions="")

    @function_tool
    async def forever(self) -> str:
        """Never return."""
        await anyio.sleep_forever()
        return ""

    @function_tool
    async def add(self, one: int, other: int = 1) -> str:
        """Add two numbers."""
        return str(one + other)

    @function_tool
    async def hand_over(self) -> Agent:
        """Hand over."""
        return Hasty()

    @function_tool(raw_schema={"name": "raw", "parameters": {"type": "object"}})
    async def raw(self, raw_arguments: dict[str, object]) -> str:
        """Take anything."""
        return str(raw_arguments)


async def _limited() -> tuple[dict[str, llm.FunctionTool[Any, Any]], list[Agent]]:
    handed: list[Agent] = []

    async def on_handoff(agent: Agent) -> None:
        handed.append(agent)

    agent = Hasty()
    await limit_tools(agent, on_handoff)
    before = agent.tools
    await limit_tools(agent, on_handoff)
    assert agent.tools == before  # once is enough
    return {tool.id: tool for tool in agent.tools}, handed  # type: ignore[misc]


async def test_a_tool_without_end_fails_with_words() -> None:
    """It is cancelled, and the failure can be spoken."""
    tools, _ = await _limited()
    with pytest.raises(llm.ToolError, match="It takes too long"):
        await tools["forever"]()


async def test_other_tools_are_as_they_were() -> None:
    """Their schema, their arguments, their results; and a handoff's agent is told of."""
    tools, handed = await _limited()
    schema = llm.ToolContext(list(tools.values())).parse_function_tools("openai")
    assert schema == llm.ToolContext(Hasty().tools).parse_function_tools("openai")
    assert await tools["add"](2, other=3) == "5"
    assert await tools["raw"]({"a": 1}) == "{'a': 1}"
    assert await tools["hand_over"]() is handed[0]
