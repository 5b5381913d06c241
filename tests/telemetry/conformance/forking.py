"""A process that forks in mid-conversation, and what parent and child then deliver, as JSON.

``python -m tests.telemetry.conformance.forking LIFECYCLE STORE``: a fork wants a process without
pytest's threads.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import telemetry
from telemetry.testing import capture

from . import without
from .whole import trees

if TYPE_CHECKING:
    from telemetry.testing import Captured

    from .whole import Lifecycle


def _seen(captured: Captured) -> dict[str, Any]:
    stats = captured.runtime.stats()
    return {
        "trees": trees(captured),
        "late": stats.late_spans,
        "orphans": stats.orphan_spans,
        "dropped": stats.dropped_spans,
    }


def main(lifecycle: Lifecycle, store: Path) -> None:
    """Fork inside a conversation; print ``{"parent": …, "child": …}``."""
    without.take_away()
    read, write = os.pipe()
    with capture(store=store, lifecycle=lifecycle) as captured:
        with telemetry.conversation("before"):
            pass
        assert captured.runtime.flush()
        conversation = telemetry.conversation("parent's").__enter__()
        block = telemetry.span("around").__enter__()
        assert captured.runtime.flush()
        child = os.fork()
        if child == 0:
            with telemetry.span("late", "child"):
                pass
            block.__exit__(None, None, None)
            conversation.__exit__(None, None, None)
            with telemetry.conversation("child's"), telemetry.span("work", "child"):
                pass
            seen = _seen(captured)
            captured.runtime.close()
            os.write(write, json.dumps(seen).encode())
            os._exit(0)
        with telemetry.span("work", "parent"):
            pass
        block.__exit__(None, None, None)
        conversation.__exit__(None, None, None)
        os.close(write)
        with os.fdopen(read) as pipe:
            of_child = json.load(pipe)
        os.waitpid(child, 0)
        seen = {"parent": _seen(captured), "child": of_child}
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main("stream" if sys.argv[1] == "stream" else "transaction", Path(sys.argv[2]))
