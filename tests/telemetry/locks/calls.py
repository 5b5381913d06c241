"""What a call has to wait for: every lock it takes, every file, socket and sleep.

``python -m tests.telemetry.locks.calls LIFECYCLE HANDLER DSN`` holds a conversation on an event
loop and prints what that thread did meanwhile that can block, one place a line. ``HANDLER`` is the
application's own log handler: a class of ``logging``.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from . import wrapper
from .wrapper import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKING: Final = ("open", "os.", "socket.", "sqlite3.", "subprocess.", "time.sleep")

_watched: set[int] = set()
_seen: dict[str, None] = {}


def _note(what: str) -> None:
    if threading.get_ident() in _watched:
        _watched.clear()
        frames = traceback.extract_stack()[:-2]
        while any(frame.filename == wrapper.__file__ for frame in frames):
            frames.pop()  # the lock, and all that its acquisition set off
        where = frames[-1]
        _seen[f"{what} at {where.filename}:{where.lineno} in {where.name}"] = None
        _watched.add(threading.get_ident())


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(BLOCKING):
        _note(event)


@contextmanager
def _watching() -> Iterator[None]:
    _watched.add(threading.get_ident())
    try:
        yield
    finally:
        _watched.clear()


class _Watch(logging.Handler):
    """Is told by each lock that it was acquired."""

    def handle(self, record: logging.LogRecord) -> bool:
        _note("a lock")
        return True


async def _conversation() -> None:
    import sentry_sdk

    import telemetry

    app = logging.getLogger("app")
    with _watching():
        async with telemetry.conversation("c", user={"id": "u"}, tags={"t": "v"}) as conversation:
            with telemetry.span("gen_ai.chat", attributes={"a": 1}) as span:
                span.start_span("inner").finish()
                sentry_sdk.set_tag("k", "v")
                with sentry_sdk.start_span(op="db.query", name="select"):
                    telemetry.trace_headers()
            await asyncio.gather(*map(telemetry.bind(_sibling), range(3)))
            conversation.capture_exception(ValueError("reported"))
            app.error("logged", exc_info=ValueError("why"))
            app.warning("logged")
            left_open = conversation.start_span("left open")
        left_open.finish()
        conversation.start_span("late").finish()


async def _sibling(number: int) -> None:
    import telemetry

    with telemetry.span("step", str(number)):
        await asyncio.sleep(0)


def main(lifecycle: str, handler: str, dsn: str) -> None:
    """Hold the conversation and print what could block it."""
    wrapper.install(Moment.ACQUIRE)
    logging.getLogger().addHandler(getattr(logging, handler)())
    locks = logging.getLogger("lock_profiler")
    locks.addHandler(_Watch())
    locks.propagate = False

    import telemetry

    options: dict[str, Any] = {"lifecycle": lifecycle, "enable_logs": True}
    runtime = telemetry.init(dsn=dsn, **options)
    asyncio.run(_conversation())  # once before: what is imported when first used is read from files
    sys.addaudithook(_audit)
    _seen.clear()
    asyncio.run(_conversation())
    sys.stdout.write("\n".join(_seen))
    runtime.close(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
