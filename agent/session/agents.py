"""The agent that answers: a class named as ``module:Class``, and its conversations' resources."""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import sys
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from livekit.agents import Agent

import telemetry
from agent.errors import InputError
from telemetry.printable import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from agent.providers import Script


log = logging.getLogger(__name__)

_OURS: Final = frozenset({"agent", "config", "telemetry"})
_TAKEN: Final = _OURS | sys.stdlib_module_names
"""Names that no module of an operator's can have."""


class AgentError(InputError):
    """An agent that the settings name and that can't be used. One line of text: what, where, how to
    fix it."""


def load_agent(path: str) -> type[Agent]:
    """The agent class that ``module:Class`` names.

    The module is looked for in the working directory first. The modules it imports are looked for
    there last, so that no file hides one of Python's, of a package's or of ours.

    Raises:
        AgentError: it can't be imported, or isn't a LiveKit agent.
    """
    module_name, _, class_name = path.partition(":")
    if not module_name or not class_name:
        raise AgentError(f"PARLEY_AGENT={path!r} must look like 'module:Class'")
    try:
        module = _imported(module_name)
    except ImportError as error:
        raise AgentError(f"PARLEY_AGENT={path!r}: {error}{_hidden(error.name)}") from error
    except AttributeError as error:
        # another module than the one that was meant
        hidden = _hidden(error.obj.__name__) if isinstance(error.obj, ModuleType) else ""
        if not hidden:
            raise
        raise AgentError(f"PARLEY_AGENT={path!r}: {error}{hidden}") from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Agent)):
        what = f"has no {class_name!r}" if found is None else f"{class_name!r} is no livekit Agent"
        hidden = _hidden(module_name)
        raise AgentError(f"PARLEY_AGENT={path!r}: module {module_name!r} {what}{hidden}")
    for _, used in inspect.getmembers(module, inspect.ismodule):
        if hidden := _hidden(used.__name__):
            _warn(f"{module_name} imports `{used.__name__}`{hidden}, unless that is what you want")
    return found


def _imported(name: str) -> ModuleType:
    top = name.partition(".")[0]
    if top not in sys.modules and top not in _TAKEN:
        spec = PathFinder.find_spec(top, [str(Path.cwd())])
        if spec is not None and spec.loader is not None:
            sys.modules[top] = module_from_spec(spec)
            try:
                spec.loader.exec_module(sys.modules[top])
            except BaseException:
                del sys.modules[top]
                raise
    return importlib.import_module(name)


def _hidden(name: str | None) -> str:
    """A hint that a file of the working directory isn't what is imported under a name; or empty."""
    top = (name or "").partition(".")[0]
    files = (Path(f"{top}.py"), Path(top) / "__init__.py")
    own = next((file.absolute() for file in files if top and file.is_file()), None)
    imported = getattr(sys.modules.get(top), "__file__", None)
    if own is None or (imported and own.samefile(imported)):
        return ""
    owner = "an installed package's"
    if top in _TAKEN:
        owner = "Parley's" if top in _OURS else "Python's"
    return f": {own} isn't imported, for `{top}` is {owner} own name: rename it"


@functools.cache
def _warn(text: str) -> None:
    """Log a warning, once."""
    log.warning("%s", text)


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

    Raises:
        AgentError: they can't be opened, or closed. What was raised is reported, too.
    """
    opener = getattr(agent, "resources", None)
    if opener is None:
        yield agent
        return
    async with AsyncExitStack() as stack:
        with _told(agent, "opened"):
            make = await stack.enter_async_context(opener(environ))
        yield make
        with _told(agent, "closed"):
            await stack.aclose()


@contextmanager
def _told(agent: type[Agent], what: str) -> Iterator[None]:
    """Report an exception of the operator's own code, and put it into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        name = f"{agent.__module__}:{agent.__qualname__}"
        with telemetry.transaction("agent.resources", name) as transaction:
            transaction.capture_exception(error)
            transaction.fail(error)
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise AgentError(printable(f"{name}.resources could not be {what}: {why}")) from error
