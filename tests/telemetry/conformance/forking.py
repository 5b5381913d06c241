"""A process that forks, and what parent and child then deliver, as JSON.

``python -m tests.telemetry.conformance.forking LIFECYCLE STORE MOMENT``: a fork wants a process
without pytest's threads. The moment is ``conversation``, in the midst of one, or one of
:data:`MOMENTS`, in which other threads are busy with what the child will need.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk

import telemetry
from telemetry.runtime import active
from telemetry.testing import capture

from . import without
from .whole import trees

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.testing import Captured

    from .whole import Lifecycle

MOMENTS: Final = ("capturing", "closing", "flags")


def _seen(captured: Captured) -> dict[str, Any]:
    stats = captured.runtime.stats()
    return {
        "trees": trees(captured),
        "conversations": stats.conversations,
        "late": stats.late_spans,
        "orphans": stats.orphan_spans,
        "dropped": stats.dropped_spans,
    }


def main(lifecycle: Lifecycle, store: Path, moment: str) -> None:
    """Fork; print ``{"parent": …, "child": …}``."""
    without.take_away()
    if moment == "conversation":
        seen = _in_a_conversation(lifecycle, store)
    else:
        seen = _at(moment, lifecycle, store)
    sys.stdout.write(json.dumps(seen))


def _in_a_conversation(lifecycle: Lifecycle, store: Path) -> dict[str, Any]:
    """In the midst of one, which the child goes on with."""

    def childs() -> dict[str, Any]:
        with telemetry.span("late", "child"):
            pass
        block.__exit__(None, None, None)
        conversation.__exit__(None, None, None)
        _talk("child")
        return _seen(captured)

    with capture(store=store, lifecycle=lifecycle) as captured:
        with telemetry.conversation("before"):
            pass
        assert captured.runtime.flush()
        conversation = telemetry.conversation("parent's").__enter__()
        block = telemetry.span("around").__enter__()
        assert captured.runtime.flush()
        of_child = _forked(childs)
        with telemetry.span("work", "parent"):
            pass
        block.__exit__(None, None, None)
        conversation.__exit__(None, None, None)
        return {"child": of_child(), "parent": _seen(captured)}


def _at(moment: str, lifecycle: Lifecycle, store: Path) -> dict[str, Any]:
    """While another thread captures an error, closes telemetry, or holds a scope's lock."""
    parent, busy, over = os.getpid(), threading.Event(), threading.Event()
    isolation = sentry_sdk.get_isolation_scope()

    def hold(event: Any, hint: Any) -> Any:
        if os.getpid() == parent:
            busy.set()
            over.wait(30)
        return event

    def capturing() -> None:
        logging.getLogger("app").error("the parent's")

    def closing() -> None:
        capturing()
        captured.runtime.close(30)

    def flags() -> None:
        with isolation.flags.lock:
            hold(None, None)

    def childs() -> dict[str, Any]:
        again = capture(store=store, lifecycle=lifecycle)
        with again if moment == "closing" else nullcontext(captured) as mine:
            logging.getLogger("app").error("the child's")
            _talk("child")
            seen = _seen(mine)
            assert len(mine.errors) == 1
            return seen

    with capture(store=store, lifecycle=lifecycle, before_send=hold) as captured:
        _talk("parent")
        assert captured.runtime.flush()
        work = {"capturing": capturing, "closing": closing, "flags": flags}[moment]
        thread = threading.Thread(target=work)
        thread.start()
        assert busy.wait(30)
        of_child = _forked(childs)
        over.set()
        thread.join()
        return {"child": of_child(), "parent": _seen(captured)}


def _talk(who: str) -> None:
    with telemetry.conversation(f"{who}'s"), telemetry.span("work", who):
        pass


def _forked(work: Callable[[], dict[str, Any]]) -> Callable[[], Any]:
    """Do something in a child; what waits for it, and returns what it came to."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, json.dumps(work()).encode())
            active().close()
        finally:
            os._exit(0)
    os.close(write)

    def result() -> Any:
        with os.fdopen(read) as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        return json.loads(said)

    return result


if __name__ == "__main__":
    main("stream" if sys.argv[1] == "stream" else "transaction", Path(sys.argv[2]), sys.argv[3])
