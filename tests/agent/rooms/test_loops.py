"""LiveKit's watch over event loops never stops the process."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

from livekit.agents.telemetry import loop_monitor

from agent.rooms.loops import watch_if_safe

if TYPE_CHECKING:
    import pytest

LATE = """
import asyncio, gc, os, sys, threading, time

from livekit.agents.telemetry import loop_monitor
from agent.rooms.loops import watch_if_safe

watch_if_safe(os.environ)
forever = threading.Event()
for _ in range(50):  # frames that garbage is collected for
    threading.Thread(target=forever.wait, daemon=True).start()
ends = [threading.Event() for _ in range(50)]
for each in ends:
    threading.Thread(target=each.wait, daemon=True).start()

def collected(phase, _):
    asked = sys._getframe(1).f_code.co_name
    if phase == "start" and asked == "_sample_loop_thread" and ends:
        ends.pop().set()
        time.sleep(0.02)  # another thread gets the interpreter, and ends

async def late():
    time.sleep(0.3)
    await asyncio.sleep(0.1)

gc.callbacks.append(collected)
gc.set_threshold(5)
loop = asyncio.new_event_loop()
monitor = loop_monitor.start_monitoring(loop)
loop.run_until_complete(asyncio.sleep(0.1))
loop.run_until_complete(late())
print("watched" if monitor else "unwatched", 50 - len(ends), flush=True)
os._exit(0)
"""


def test_a_late_loop_doesnt_stop_the_process() -> None:
    """A loop is late, garbage is collected as it is looked at, another thread ends: all go on."""
    done = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == ("watched" if sys.version_info >= (3, 12) else "unwatched")


def test_loops_are_watched_where_that_is_safe(caplog: pytest.LogCaptureFixture) -> None:
    """Python 3.12 leaves the operator's threshold as it is; 3.11 turns it off, and says so once."""
    name = loop_monitor.ENV_WARN_THRESHOLD_MS
    environ = {name: "250"}
    with caplog.at_level(logging.WARNING, "agent.rooms.loops"):
        watch_if_safe(environ, (3, 12))
        assert environ == {name: "250"}
        watch_if_safe(environ, (3, 11))
        watch_if_safe(environ, (3, 11))
    assert environ == {name: "0"}
    assert len(caplog.messages) == 1
    assert "3.12 or later" in caplog.text
