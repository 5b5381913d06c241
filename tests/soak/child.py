"""The child: the ``parley`` command itself, with fast speech, and a line for orders.

::

    python -m tests.soak.child serve --port 8765

Everything that runs is the product's but the recogniser and the voice, which are plugins of a name
of their own (:data:`SPEECH`). Standard input takes orders, a line each:

==================  =============================================================================
order               does
==================  =============================================================================
``clock SECONDS``   steps the wall clock: ``time.time`` and ``time.time_ns`` are so much ahead of
                    the machine's from now on. ``datetime.now``, which telemetry uses for the time
                    of sending only, is not
``stall SECONDS``   has the event loop stand still
``look``            gives back all memory that is free, and prints, as a line of JSON, how many
                    tasks, threads and blocks of memory there are and what telemetry says of itself
``watch SECONDS``   prints, after so long and as a line of JSON, how late the event loop was: as
                    :func:`tests.bench.load.watch` has it
==================  =============================================================================
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import gc
import json
import logging
import os
import sys
import threading
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from livekit.agents import Agent, RunContext, function_tool

from agent.cli import main as parley
from agent.cli import process
from agent.providers import CallTool, Reply, Say
from tests.bench.load import watch
from tests.bench.sessions import Recognizer, Voice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from livekit.agents import llm

CLOCK: Final = "SOAK_CLOCK_SECONDS"
"""The environment variable with the step of the clock that a process begins with."""
SPEECH: Final = {
    "PARLEY_AGENT": "tests.soak.child:SoakAgent",
    "PARLEY_STT": "plugin:soak",
    "PARLEY_TTS": "plugin:soak",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}
"""The environment that it needs."""
log: Final = logging.getLogger(__name__)
_machine_time: Final = time.time
_machine_time_ns: Final = time.time_ns
_book: Final = threading.Lock()
"""Held while the book is read: a profiler's, where there is one."""
_step_seconds = 0.0
_loop: asyncio.AbstractEventLoop | None = None
"""The gateway's, once it opens its resources."""


class SoakScript:
    """Answers, looks things up, takes leave and breaks, by what it hears."""

    def reply(self, chat_ctx: llm.ChatContext) -> Reply:
        """Answer the newest item."""
        newest = chat_ctx.items[-1]
        if newest.type == "function_call_output":
            return Say(newest.output)
        match newest.text_content if newest.type == "message" else None:
            case "look it up":
                return CallTool("look_up", {})
            case "goodbye":
                return CallTool("leave", {})
            case "break":
                raise RuntimeError("the model broke")
            case _:
                return Say("A table for four. For what time would that be?")


class SoakAgent(Agent):
    """The agent of all calls."""

    script = SoakScript()

    @classmethod
    @asynccontextmanager
    async def resources(cls, environ: Mapping[str, str]) -> AsyncIterator[Callable[[], Agent]]:
        """Nothing to open; the loop that everything runs on is taken note of."""
        global _loop
        _loop = asyncio.get_running_loop()
        log.info("locks are of %s", type(_book).__module__)
        yield lambda: cls(instructions="Take bookings.")

    async def on_enter(self) -> None:
        """Greet."""
        self.session.say("Hello.")

    @function_tool
    async def look_up(self) -> str:
        """Look something up, and complain of it in the log."""
        await asyncio.to_thread(_read_book)
        return "There is a table."

    @function_tool
    async def leave(self, context: RunContext[None]) -> str:
        """End the call."""
        context.speech_handle.add_done_callback(lambda _: context.session.shutdown(drain=True))
        return "Goodbye."


def _read_book() -> None:
    """Log while a lock is held that others wait for."""
    with _book:
        log.error("the book is hard to read")


def _look() -> dict[str, Any]:
    """Counts of what could leak, and telemetry's own; nothing that is free is kept any more."""
    gc.collect()
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    tasks = Counter(
        getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks(_loop)
    )
    threads = Counter(thread.name.rstrip("0123456789") for thread in threading.enumerate())
    [runtime] = process._traced
    return {
        "tasks": tasks,
        "threads": threads,
        "blocks": sys.getallocatedblocks(),
        "stats": dataclasses.asdict(runtime.stats()),
    }


async def _watch(seconds: float) -> None:
    print(json.dumps(await watch(seconds)), flush=True)  # noqa: T201


def _obey(order: str) -> None:
    global _step_seconds
    match order.split():
        case ["clock", seconds]:
            _step_seconds = float(seconds)
        case ["stall", seconds] if _loop is not None:
            _loop.call_soon_threadsafe(time.sleep, float(seconds))
        case ["look"] if _loop is not None:
            _loop.call_soon_threadsafe(lambda: print(json.dumps(_look()), flush=True))  # noqa: T201
        case ["watch", seconds] if _loop is not None:
            asyncio.run_coroutine_threadsafe(_watch(float(seconds)), _loop)
        case _:
            raise ValueError(f"no such order now: {order}")


def _take_orders() -> None:
    for order in sys.stdin:
        _obey(order)


def _shift_clock() -> None:
    """Have the wall clock step by what it is told."""
    global _step_seconds
    _step_seconds = float(os.environ.get(CLOCK, "0"))
    time.time = lambda: _machine_time() + _step_seconds
    time.time_ns = lambda: _machine_time_ns() + round(_step_seconds * 1e9)


def main() -> None:
    """The program."""
    _shift_clock()
    plugin: Any = ModuleType("livekit.plugins.soak")
    plugin.STT, plugin.TTS = Recognizer, Voice
    sys.modules[plugin.__name__] = plugin
    sys.modules["tests.soak.child"] = sys.modules["__main__"]  # the agent is in here
    threading.Thread(target=_take_orders, name="orders", daemon=True).start()
    sys.argv[0] = "parley"
    parley()


if __name__ == "__main__":
    main()
