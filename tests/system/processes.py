"""Processes and what they started, as the kernel has it in ``/proc``."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def family(process: int) -> list[int]:
    """A process and all its descendants, each after its parent."""
    found = [process]
    for tasks in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # ended meanwhile
            for child in tasks.read_text().split():
                found += family(int(child))
    return found


def running_on(processes: Iterable[int], *, timeout: float) -> list[int]:
    """Those that have not ended after ``timeout`` seconds; they needn't be children of ours."""
    deadline = time.monotonic() + timeout
    left = []
    for process in processes:
        try:
            ended = os.pidfd_open(process)
        except ProcessLookupError:
            continue
        if not select.select([ended], [], [], max(0.0, deadline - time.monotonic()))[0]:
            left.append(process)
        os.close(ended)
    return left
