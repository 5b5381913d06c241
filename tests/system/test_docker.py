"""The image and the services of ``docker/``: what an operator starts is what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
import yaml

from agent.cli.app import app
from config.settings import Settings
from tests.system import compose

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.system, pytest.mark.timeout(330)]

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker" / "compose.yaml"
DOCKERFILE = ROOT / "docker" / "Dockerfile"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services, with nothing set."""
    found: dict[str, Any] = compose.config(FILE)["services"]
    return found


def test_the_services(services: dict[str, Any]) -> None:
    """`docker compose config` takes the file: LiveKit, Redis, two workers, the reservations."""
    assert set(services) == {"livekit", "redis", "reservations", "worker"}
    assert services["worker"]["deploy"]["replicas"] == 2
    for name, service in services.items():
        assert "healthcheck" in service, name


def test_the_image_is_built_once(services: dict[str, Any]) -> None:
    """Services of one image have one build, which the others depend on: of two at once, the second
    finds the tag taken."""
    ours = {name: each for name, each in services.items() if each["image"] == "parley"}
    (built,) = [name for name, each in ours.items() if "build" in each]
    for name, each in ours.items():
        assert each["pull_policy"] == "never", name
        assert name == built or built in each["depends_on"], name


def test_a_file_that_is_wrong(tmp_path: Path) -> None:
    """A key that Compose doesn't know is refused: the check is one."""
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(FILE.read_text().replace("healthcheck:", "health_check:", 1))
    with pytest.raises(compose.ComposeError, match="health_check"):
        compose.config(wrong)


def test_the_key_is_one_for_all() -> None:
    """LiveKit and its workers have the same key, whatever it is set to."""
    found = yaml.safe_load(FILE.read_text())["services"]
    key = found["worker"]["environment"]
    both = f"{key['LIVEKIT_API_KEY']}: {key['LIVEKIT_API_SECRET']}"
    assert found["livekit"]["environment"]["LIVEKIT_KEYS"] == both


def test_what_is_ours_is_started_as_it_can_be(services: dict[str, Any]) -> None:
    """Commands and options exist, and settings are settings: with them the worker could start."""
    commands = typer.main.get_command(app)
    known = {str(each.validation_alias) for each in Settings.model_fields.values()}
    for service in (services["worker"], services["reservations"]):
        name, *options = service["command"]
        context = typer.Context(commands)
        command = commands.get_command(context, name)  # type: ignore[attr-defined]  # a group
        assert command is not None, name
        command.make_context(name, options)
        assert {each for each in service["environment"] if each not in known} == set()


def test_a_worker_has_time_to_drain(services: dict[str, Any]) -> None:
    """The worker is killed later than it drains, and closing takes its time after that."""
    worker = services["worker"]
    grace = re.fullmatch(r"(?:(\d+)m)?(\d+)s", worker["stop_grace_period"])
    assert grace is not None
    seconds = 60 * int(grace[1] or 0) + int(grace[2])
    assert seconds >= float(worker["environment"]["PARLEY_DRAIN_TIMEOUT"]) + 20


def test_the_image() -> None:
    """Lockfile first, not root, exec form, a health check; what it copies is there and let in."""
    stages = DOCKERFILE.read_text().split("\nFROM ")
    assert len(stages) == 3  # the comment, the build, what is shipped
    build, shipped = map(instructions, stages[1:])
    extras = " ".join(f"--extra {name}" for name in ("fast", "local", "openai", "prices", "otlp"))
    dependencies = f"uv sync --frozen --no-dev {extras} --no-install-project"
    assert build.index(("RUN", dependencies)) < build.index(("COPY", "agent agent"))
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    for name, said in build:
        if name == "COPY":
            for source in said.split()[:-1]:
                assert (ROOT / source).exists()
                assert source in let_in
    found = dict(shipped)
    assert found["USER"].isdigit()
    assert found["USER"] != "0"
    assert json.loads(found["ENTRYPOINT"]) == ["parley"]
    assert json.loads(found["CMD"]) == ["serve"]
    assert "CMD [" in found["HEALTHCHECK"]


def instructions(stage: str) -> list[tuple[str, str]]:
    """A stage's instructions."""

    def each() -> Iterator[tuple[str, str]]:
        for line in stage.replace("\\\n", " ").splitlines()[1:]:
            if line.strip() and not line.startswith("#"):
                name, _, said = line.partition(" ")
                yield name, said

    return list(each())
