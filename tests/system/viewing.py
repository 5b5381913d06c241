"""Calls that the simulator has held and recorded, and ``parley viewer`` to look at them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio.streams.text import TextReceiveStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PARLEY: Final = (sys.executable, "-c", "from agent.cli import main; main()")
ROOT: Final = Path(__file__).parents[2]


def _environ(folder: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PARLEY_", "SENTRY_"))}
    return {**clean, "PYTHONPATH": str(ROOT), "PARLEY_TRACE_STORE": str(folder / "traces.db")}


async def simulated(folder: Path, *scenarios: str) -> None:
    """Hold these scenarios, one after the other, with a recording of each, in a store there.

    A busy machine answers late, which the simulator's own checks are about, and not these calls'.
    """
    command = [*PARLEY, "simulate", *scenarios, "--at-once", "1", "--record"]
    done = await anyio.run_process(command, cwd=folder, env=_environ(folder), check=False)
    assert done.returncode in (0, 1), done.stderr.decode()


@asynccontextmanager
async def viewer(folder: Path) -> AsyncIterator[str]:
    """``parley viewer`` of the store there; its address."""
    process = await anyio.open_process(
        [*PARLEY, "viewer", "--port", "0"],
        cwd=folder,
        env=_environ(folder),
        stderr=subprocess.DEVNULL,
    )
    async with process:
        try:
            assert process.stdout is not None
            said = ""
            with anyio.fail_after(30):
                async for text in TextReceiveStream(process.stdout):
                    said += text
                    if found := re.search(r"http://\S+(?=\s)", said):
                        break
            assert found is not None, said
            yield found[0]
        finally:
            process.terminate()
