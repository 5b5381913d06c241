"""The agent that answers: a class named as ``module:Class``, and its conversations' resources."""

from __future__ import annotations

import importlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from livekit.agents import Agent

from agent.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from agent.providers import Script


class AgentError(InputError):
    """An agent that the settings name and that can't be used. One line of text: what, where, how to
    fix it."""


def load_agent(path: str) -> type[Agent]:
    """The agent class that ``module:Class`` names.

    Raises:
        AgentError: it can't be imported, or isn't a LiveKit agent.
    """
    module_name, _, class_name = path.partition(":")
    if not module_name or not class_name:
        raise AgentError(f"PARLEY_AGENT={path!r} must look like 'module:Class'")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise AgentError(f"PARLEY_AGENT={path!r}: {error}") from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Agent)):
        what = f"has no {class_name!r}" if found is None else f"{class_name!r} is no livekit Agent"
        raise AgentError(f"PARLEY_AGENT={path!r}: module {module_name!r} {what}")
    return found


def script_of(agent: type[Agent]) -> Script | None:
    """The stand-in for the agent's language model when that is scripted, if it has one."""
    return getattr(agent, "script", None)


@asynccontextmanager
async def resources(
    agent: type[Agent], environ: Mapping[str, str]
) -> AsyncIterator[Callable[[], Agent]]:
    """Open the resources that all conversations of the process share; yields the maker of their
    agents.

    An agent class opens its own with an optional class method ``resources(environ)``, an
    asynchronous context manager; a class without it is made with no arguments.
    """
    opener = getattr(agent, "resources", None)
    if opener is None:
        yield agent
    else:
        async with opener(environ) as make:
            yield make
