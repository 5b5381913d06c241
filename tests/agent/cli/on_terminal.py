"""The command `parley` on a terminal, as a person sees it."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]


def shown(folder: Path, *arguments: str, environ: Mapping[str, str], errors: bool = False) -> bytes:
    """What it shows until it ends, which is well; with what it says on stderr, if that is asked."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", "from agent.cli import main; main()", *arguments],
            cwd=folder,
            env={**environ, "PYTHONPATH": str(ROOT)},
            stdout=theirs,
            stderr=theirs if errors else None,
        )
        os.close(theirs)
        seen = bytearray()
        with contextlib.suppress(OSError):  # how a terminal says that nobody is left
            while part := terminal.read(4096):
                seen += part
        assert process.wait(30) == 0
    return bytes(seen)
