"""A place whose processes and mounts end with it, whatever becomes of who made it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .island import island
from .processes import family, running_on

pytestmark = pytest.mark.system

TO_ITSELF = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
"""
BEGIN = """
import subprocess, sys
from tests.system.island import island
with island() as here:
    mount = f"mount -t tmpfs none {sys.argv[1]} && echo mounted && exec sleep 600"
    subprocess.run(here.command("sh", "-c", mount), check=True)
"""


def test_only_loopback() -> None:
    """On an island there is loopback, and no way to anywhere else."""
    with island() as here:
        links = subprocess.check_output(here.command("cat", "/proc/net/dev"), text=True)
        routes = subprocess.check_output(here.command("cat", "/proc/net/route"), text=True)
        subprocess.run(here.command(sys.executable, "-c", TO_ITSELF), check=True)
    assert [line.split(":")[0].strip() for line in links.splitlines()[2:]] == ["lo"]
    assert len(routes.splitlines()) == 1  # the heading


def test_killed(tmp_path: Path) -> None:
    """Killing who made it ends what ran there; what was mounted there never was here."""
    begin = [sys.executable, "-c", BEGIN, str(tmp_path)]
    with subprocess.Popen(begin, stdout=subprocess.PIPE, text=True) as begun:
        try:
            assert begun.stdout is not None
            assert begun.stdout.readline() == "mounted\n"
            _, *there = family(begun.pid)
            assert str(tmp_path) not in Path("/proc/mounts").read_text()
        finally:
            begun.kill()
    assert len(there) == 4  # the island and its first process, the way in, what was started there
    assert running_on(there, timeout=10) == []
