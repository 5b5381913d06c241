"""The image of ``docker/``, built and run without a Docker daemon: by buildah, as root.

No process and no mount of it outlives the test, whatever becomes of that: all is done on islands.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .base import Base
from .debian import program
from .island import Island, island
from .processes import family
from .program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "docker" / "Dockerfile"
CACHE: Final = ROOT / ".cache" / "image"
NAME: Final = "localhost/parley:latest"
_MADE_FROM: Final = "parley.made-from"
"""The label of a base that says what it was made from."""
_BUILD_TIMEOUT_SECONDS: Final = 900.0


class BuildError(Exception):
    """The image can't be built: which command failed, and what it said last."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container on an island; nothing runs in it by itself."""

    start: list[str]
    """Runs the command that follows it, there."""

    def run(self, *command: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; what it says is in ``stdout``, errors too."""
        return subprocess.run(
            [*self.start, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextmanager
    def running(self, *command: str) -> Iterator[Program]:
        """A program that runs for the time of the block, if it doesn't end before."""
        started = Program([*self.start, *command], stdin=subprocess.DEVNULL)
        try:
            yield started
        finally:
            for process in reversed(family(started.process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            started.process.wait()


@dataclass(frozen=True, slots=True)
class Image:
    """An image, and what it says of itself."""

    images: Images
    name: str
    user: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    health: tuple[str, ...]
    """The command that tells whether a container is healthy."""

    def container(self, on: Island, *options: str) -> Container:
        """A new container of it; options are those of ``buildah run``."""
        return self.images.container(self.name, on, *options)


class Images:
    """The images there are; ``scratch`` is an empty folder, for what is true of this run only."""

    def __init__(self, on: Island, scratch: Path) -> None:
        self.base = Base.of(DOCKERFILE)
        self._on = on
        self._buildah = (
            *(program("buildah"), f"--root={CACHE / 'storage'}", f"--runroot={scratch}"),
        )

    def prepare(self) -> None:
        """Make the base, unless there is one from an earlier time; remove all else."""
        self.tidy()
        if self.base.name in self._names():
            labels = self._config(self.base.name)["Labels"] or {}
            if labels.get(_MADE_FROM) == self.base.made_from:
                return
            self._do("rmi", "--all", "--force")
        files = CACHE / "base"
        self.base.lay(files, lambda command: _run(self._on.command(*command)))
        container = self._do("from", "scratch")
        self._do("add", "--quiet", container, str(files), "/")
        shutil.rmtree(files)
        environ = [f"--env={k}={v}" for k, v in self.base.surroundings.environ.items()]
        label = f"--label={_MADE_FROM}={self.base.made_from}"
        self._do("config", label, *environ, container)
        self._do("commit", "--quiet", "--rm", container, self.base.name)

    def build(self) -> Image:
        """Build the image, as ``docker build`` does."""
        self._do(
            *("bud", "--isolation=chroot", "--network=host", "--pull-never", "--format=docker"),
            *(f"--file={DOCKERFILE}", f"--tag={NAME}", str(ROOT)),
        )
        config = self._config(NAME)
        return Image(
            images=self,
            name=NAME,
            user=config["User"],
            entrypoint=tuple(config["Entrypoint"]),
            command=tuple(config["Cmd"]),
            health=tuple(config["Healthcheck"]["Test"][1:]),
        )

    def container(self, image: str, on: Island, *options: str) -> Container:
        """A new container of an image; options are those of ``buildah run``."""
        name = self._do("from", "--pull-never", image)
        run = ("run", "--isolation=chroot", *options, name, "--")
        return Container(on.command(*self._buildah, *run))

    def tidy(self) -> None:
        """Remove all containers, and all images but the base: the next run builds its own."""
        self._do("rm", "--all")
        for name in self._names() - {self.base.name}:
            self._do("rmi", "--force", name)
        self._do("rmi", "--prune", "--force")

    def _names(self) -> set[str]:
        """The images that have a name."""
        return set(self._do("images", "--format={{.Name}}:{{.Tag}}").split())

    def _config(self, image: str) -> dict[str, Any]:
        found = json.loads(self._do("inspect", "--type=image", image))
        config: dict[str, Any] = found["Docker"]["config"]
        return config

    def _do(self, *command: str) -> str:
        """Do something with buildah, and return what it prints."""
        return _run(self._on.command(*self._buildah, *command)).strip()


@contextmanager
def images(scratch: Path) -> Iterator[Images]:
    """Images for the time of the block; only the base stays for the next time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock, island(network=True) as here:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run would remove our containers
        found = Images(here, scratch)
        found.prepare()
        try:
            yield found
        finally:
            found.tidy()


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BUILD_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        said = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        raise BuildError(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
    return done.stdout
