"""The image of ``docker/``: it is built, and what is in it answers callers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from .image import ROOT, Image, Images, images
from .island import Island, island
from .processes import family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .program import Program

pytestmark = [pytest.mark.system, pytest.mark.timeout(120, func_only=True)]

STOP_TIMEOUT: Final = 10.0
"""Seconds after which ``docker stop`` kills."""
NO_WAY: Final = """
import errno, socket
try:
    socket.create_connection(("192.0.2.1", 443), timeout=5)
except OSError as error:
    assert error.errno == errno.ENETUNREACH, error
else:
    raise AssertionError("somebody answers")
"""
WATCHED: Final = """
from agent.rooms.loops import watch_if_safe
environ = {}
watch_if_safe(environ)
assert environ == {}, environ
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """The base, made: a minute the first time, which no test's own limit has room for."""
    with images(tmp_path_factory.mktemp("images")) as found:
        yield found


@pytest.fixture(scope="module")
def image(there: Images) -> Image:
    """The image, built: another minute."""
    return there.build()


@pytest.fixture
def alone() -> Iterator[Island]:
    """An island without a network: a download fails there."""
    with island() as found:
        yield found


@pytest.fixture
def data(tmp_path: Path, image: Image) -> Path:
    """A folder that is the image's ``/data``."""
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, int(image.user), -1)
    return folder


@pytest.fixture
def reservations(image: Image, alone: Island, data: Path) -> Iterator[Program]:
    """The example's service, in a container of its own."""
    book = "--env=PARLEY_RESERVATIONS_DB=/data/reservations.db"
    container = image.container(alone, f"--volume={data}:/data", book)
    with container.running(*image.entrypoint, "reservations") as service:
        service.wait_for("listening on")
        yield service


@pytest.mark.usefixtures("reservations")
def test_it_is_checked(image: Image, alone: Island) -> None:
    """`parley check` finds all that it needs in it, as a user who isn't root and has no network."""
    container = image.container(alone)
    assert container.run("id", "-u", timeout=30).stdout.split() == ["10001"]
    outside = container.run("python", "-c", NO_WAY, timeout=30)
    assert outside.returncode == 0, outside.stdout
    checked = container.run(*image.entrypoint, "check", timeout=60)
    assert checked.returncode == 0, checked.stdout
    assert "All is well." in checked.stdout


@pytest.mark.usefixtures("reservations")
def test_a_caller_is_answered(image: Image, alone: Island, data: Path) -> None:
    """Its own command downloads nothing, is healthy, answers a caller who speaks, leaves a whole
    trace, and ends at SIGTERM before Docker would kill it."""
    store = "traces.db"
    container = image.container(
        alone, f"--volume={data}:/data", f"--env=PARLEY_TRACE_STORE=/data/{store}"
    )
    with container.running(*image.entrypoint, *image.command) as gateway:
        gateway.wait_for("talk to it at")
        healthy = container.run(*image.health, timeout=30)
        assert healthy.returncode == 0, healthy.stdout
        called = subprocess.run(
            alone.command(
                *("env", f"--chdir={ROOT}", sys.executable, "-m", "tests.system.calling"),
                *("ws://127.0.0.1:8765", str(data / store)),
            ),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert called.returncode == 0, f"{called.stdout}\n{called.stderr}\n{gateway.said}"
        (process,) = [each for each in family(gateway.process.pid) if _name(each) == "parley"]
        os.kill(process, signal.SIGTERM)
        assert gateway.exit_code(timeout=STOP_TIMEOUT) == 0, gateway.said


def _name(process: int) -> str:
    """The name of the program that it is."""
    return Path(f"/proc/{process}/comm").read_text().strip()


def test_its_python_can_be_watched(image: Image, alone: Island) -> None:
    """LiveKit's watch over event loops is on: it is off on a Python that it could stop for good."""
    watched = image.container(alone).run("python", "-c", WATCHED, timeout=60)
    assert watched.returncode == 0, watched.stdout


@pytest.mark.timeout(1000, func_only=True)
def test_telemetry_on_the_images_python(there: Images) -> None:
    """Lifted out, telemetry passes its tests on the Python of the image too."""
    with island(network=True) as here:
        source = (f"--volume={ROOT}:/parley:ro", "--workingdir=/parley")
        container = there.container(there.base.name, here, *source)
        lifted = container.run(
            *("sh", "-c", "pip install --quiet uv && python -m tests.lift"), timeout=980
        )
    assert lifted.returncode == 0, lifted.stdout
