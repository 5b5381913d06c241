"""A LiveKit server of one's own: the binary from PATH, else built with Go, else from Docker."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.rooms import LiveKit

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = "v1.13.5"
"""Later ones of 1.13 can't be installed with ``go install``: their modules have replacements."""
MODULE: Final = f"github.com/livekit/livekit-server/cmd/server@{VERSION}"
IMAGE: Final = f"livekit/livekit-server:{VERSION}"
CACHE: Final = Path(__file__).parents[2] / ".cache" / "livekit" / VERSION
KEY: Final = "devkey"
SECRET: Final = "a-secret-for-tests-of-32-characters"
_BUILD_TIMEOUT: Final = 1200.0
_START_TIMEOUT: Final = 30.0
_MOVES: Final = 5
_TAKEN: Final = "address already in use"


class NoServerError(Exception):
    """No LiveKit server can be had here: each way that was tried, and what came of it."""


def command() -> list[str]:
    """What starts a server of :data:`VERSION`; installs it first where it must be."""
    if found := shutil.which("livekit-server"):
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        if VERSION.removeprefix("v") in said.stdout:
            return [found]
        tried = f"livekit-server on PATH is {said.stdout.strip()!r}, not {VERSION}"
    else:
        tried = "livekit-server is not on PATH"
    built = CACHE / "server"
    if built.exists():
        return [str(built)]
    if go := shutil.which("go"):
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [go, "install", MODULE],
            env=_environment(GOBIN=str(CACHE)),
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT,
            check=False,
        )
        if done.returncode == 0:
            return [str(built)]
        tried += f"; go install {MODULE}: {done.stderr.strip()[-500:]}"
    else:
        tried += "; go is not on PATH"
    if docker := shutil.which("docker"):
        done = subprocess.run(
            [docker, "pull", "--quiet", IMAGE], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return [docker, "run", "--rm", "--network", "host", IMAGE]
        tried += f"; docker pull {IMAGE}: {done.stderr.strip()[-500:]}"
    else:
        tried += "; docker is not on PATH"
    raise NoServerError(f"no LiveKit server {VERSION}: {tried}")


def _environment(**changes: str) -> dict[str, str]:
    import os

    return {**os.environ, **changes}


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a server, free a moment ago."""

    http: int
    tcp: int
    udp: int

    @classmethod
    def free(cls) -> Ports:
        """Three free ports."""
        with contextlib.ExitStack() as stack:
            kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
            sockets = [stack.enter_context(socket.socket(socket.AF_INET, k)) for k in kinds]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            return cls(*(each.getsockname()[1] for each in sockets))


class Server:
    """A LiveKit server on loopback; it can be stopped and started again where it was."""

    def __init__(self, start: list[str], log: Path) -> None:
        self._start = start
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._move()

    @property
    def said(self) -> str:
        """Its log since it was last started."""
        return self._log.read_bytes()[self._began :].decode(errors="replace")

    def start(self) -> None:
        """Start it, and wait until it answers.

        The first time it goes elsewhere when somebody has taken a port meanwhile.
        """
        for _ in range(_MOVES):
            if self._answers():
                self._settled = True
                return
            if self._settled or _TAKEN not in self.said:
                break
            self._move()
        raise NoServerError(f"the LiveKit server did not start: {self.said[-2000:]}")

    def _move(self) -> None:
        """Take other ports."""
        self.ports = Ports.free()
        self.livekit = LiveKit(f"ws://127.0.0.1:{self.ports.http}", KEY, SECRET)
        self._settled = False
        """Whether it has been reached there: callers and workers know it by these ports then."""

    def _answers(self) -> bool:
        """Whether the server, started now, answers in time."""
        command = [
            *self._start,
            "--bind=127.0.0.1",
            "--node-ip=127.0.0.1",
            "--config-body",
            f"port: {self.ports.http}\n"
            f"rtc: {{tcp_port: {self.ports.tcp}, udp_port: {self.ports.udp}, "
            "enable_loopback_candidate: true}\n"
            f"keys: {{{KEY}: {SECRET}}}\n"
            "room: {departure_timeout: 5}\n"
            "logging: {level: info}\n",
        ]
        self._began = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports.http}", timeout=1).close()
                return True
            time.sleep(0.05)
        self.stop(kill=True)
        return False

    def stop(self, *, kill: bool = False) -> None:
        """Stop it; ``kill`` is as a crash, callers and workers are told nothing."""
        if self._process is None:
            return
        self._process.kill() if kill else self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._process = None


@contextlib.contextmanager
def running(log: Path) -> Iterator[Server]:
    """A server for the time of the block."""
    server = Server(command(), log)
    server.start()
    try:
        yield server
    finally:
        server.stop()
