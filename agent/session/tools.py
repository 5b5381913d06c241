"""A time limit for tools: no call waits for one without end."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from livekit.agents import Agent, llm

from agent.metrics import Limit, reached

from .phrases import manners_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from livekit.agents.llm import FunctionTool, RawFunctionTool

    from .phrases import Manners


async def limit_tools(agent: Agent, on_handoff: Callable[[Agent], Awaitable[None]]) -> None:
    """Hold the tools of this agent to its time limit; ``on_handoff`` gets the agents they return.

    A tool that takes longer is cancelled and fails with words that can be spoken. Tools of tool
    sets and MCP servers keep their own limits.
    """
    manners = manners_of(agent)
    if any(_is_limited(tool) for tool in agent.tools):
        return  # it comes back to the conversation
    await agent.update_tools(
        [
            _limited(tool, manners, on_handoff)
            if isinstance(tool, llm.FunctionTool | llm.RawFunctionTool)
            else tool
            for tool in agent.tools
        ]
    )


def _is_limited(tool: llm.Tool | llm.Toolset) -> bool:
    return getattr(tool, "parley_limited", False)


def _limited(
    tool: FunctionTool[Any, Any] | RawFunctionTool[Any, Any],
    manners: Manners,
    on_handoff: Callable[[Agent], Awaitable[None]],
) -> llm.Tool:
    @functools.wraps(tool)
    async def run(*args: Any, **kwargs: Any) -> Any:
        try:
            async with asyncio.timeout(manners.tool_limit) as clock:
                result = await tool(*args, **kwargs)
        except TimeoutError as error:
            if not clock.expired():
                raise
            reached(Limit.TOOL)
            raise llm.ToolError(manners.tool_given_up) from error
        for part in result if isinstance(result, tuple) else (result,):
            if isinstance(part, Agent):
                await on_handoff(part)
        return result

    run.parley_limited = True  # type: ignore[attr-defined]
    if isinstance(tool, llm.RawFunctionTool):
        return llm.RawFunctionTool(run, tool.info)
    return llm.FunctionTool(run, tool.info)
