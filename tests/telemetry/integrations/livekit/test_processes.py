"""A process for each job, as LiveKit has it by default: the parent is told what they log."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

from livekit.agents.ipc.log_queue import LogQueueListener

if TYPE_CHECKING:
    from telemetry.testing import Captured

JOB = """
import logging, pickle, sys
record = logging.getLogger("desk").makeRecord(
    "desk", logging.ERROR, "desk.py", 1, "no weather for Zanzibar Street eleven", (), None
)
sys.stdout.buffer.write(pickle.dumps(record))
"""


def test_what_a_job_logs_is_reported_in_its_own_process(captured: Captured) -> None:
    """The parent passes its record on to its own handlers, and that is all."""
    job = subprocess.run([sys.executable, "-c", JOB], check=True, stdout=subprocess.PIPE)
    listener = LogQueueListener(None, lambda _: None)  # type: ignore[arg-type]  # given by hand
    listener.handle(pickle.loads(job.stdout))  # noqa: S301 - what we have just written
    assert captured.errors == []
