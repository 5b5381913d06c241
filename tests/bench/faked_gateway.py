"""A gateway with faked speech, of whatever checkout's Python runs this file.

It asks for nothing that an older checkout doesn't have, and begins with its port as its only
argument. Then each line that comes, a number of seconds, is answered with the CPU that the process
took in so many, in per cent of a core; an empty line ends it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from livekit.agents import Agent

import telemetry
from agent import gateway
from agent.session import VoiceSession
from tests.bench import sessions

if TYPE_CHECKING:
    from agent.session import Line, SessionRequest

_MAX_SESSIONS = 500
_plugins = getattr(sessions, "null_plugins", None) or sessions._null_plugins  # type: ignore[attr-defined]  # of old


def _open_session(request: SessionRequest, line: Line) -> VoiceSession:
    agent = functools.partial(Agent, instructions="")
    return VoiceSession(request, line, agent=agent, plugins=_plugins, silence=0)


async def _serve(port: int) -> None:
    async with anyio.create_task_group() as tasks:
        serve = functools.partial(gateway.serve, port=port, max_sessions=_MAX_SESSIONS, grace=2.0)
        sys.stdout.write(f"{await tasks.start(serve, _open_session)}\n")
        sys.stdout.flush()
        while seconds := (await asyncio.to_thread(sys.stdin.readline)).strip():
            before, began = time.process_time(), time.monotonic()
            await asyncio.sleep(float(seconds))
            used = (time.process_time() - before) / (time.monotonic() - began)
            sys.stdout.write(f"{100 * used}\n")
            sys.stdout.flush()
        tasks.cancel_scope.cancel()


def main() -> None:
    """The program."""
    logging.disable(logging.WARNING)
    run: Any = anyio.run
    with suppress(ImportError):
        from agent.cli.process import run  # with the event loop that this checkout chooses
    with tempfile.TemporaryDirectory() as folder, telemetry.init(store=Path(folder, "traces.db")):
        run(_serve, int(sys.argv[1]))


if __name__ == "__main__":
    main()
