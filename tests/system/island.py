"""A part of this machine that is cut off: processes and mounts of its own, and only loopback.

What runs there ends with it, and what was mounted there is gone, also when the test that made it
is killed: the island's first process reads from a pipe of ours, and ends when that is closed.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from .debian import program
from .processes import family

if TYPE_CHECKING:
    from collections.abc import Iterator

_END_TIMEOUT_SECONDS: Final = 20.0


class Island:
    """A place to run commands in; needs root."""

    def __init__(self, first: int) -> None:
        self._enter = [
            *(program("nsenter", package="util-linux"), f"--target={first}"),
            *("--net", "--mount", "--pid", "--"),
        ]

    def command(self, *command: str) -> list[str]:
        """Words that run a command there. It starts in ``/``: paths have to be absolute."""
        return [*self._enter, *command]


@contextmanager
def island(*, network: bool = False) -> Iterator[Island]:
    """An island for the time of the block; with ``network`` it has this machine's network."""
    ip = program("ip", package="iproute2")
    own = ["--mount", "--pid", "--mount-proc", *(() if network else ("--net",))]
    up = "true" if network else f"{ip} link set lo up"
    command = [
        *(program("unshare", package="util-linux"), *own, "--fork", "--kill-child"),
        *("sh", "-c", f"{up} && echo && exec cat"),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as outside:
        assert outside.stdin is not None
        assert outside.stdout is not None
        try:
            assert outside.stdout.readline() == b"\n", "no island: it takes root"
            _, first = family(outside.pid)
            yield Island(first)
        finally:
            outside.stdin.close()
            try:
                outside.wait(_END_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                outside.kill()
