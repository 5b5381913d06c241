"""Lift telemetry out: ``python -m tests.lift`` copies the folder away and runs its tests there.

What is proved, in an empty temporary directory and an environment of its own:

1. with nothing but sentry-sdk installed, every module of the core imports;
2. with pytest and what the tests use besides, the core's tests pass;
3. with livekit-agents and other frameworks added, the integrations' do. The viewer's stay here:
   they need the simulator's recordings.

The folder gets another name on the way, and so do the tests' imports of it: the package knows
its own name nowhere. With ``--nested`` it becomes a package inside another (``myapp/telemetry``).
"""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).parent.parent
NAME: Final = "tracing_layer"
NESTED: Final = "myapp.telemetry"
"""The package's names where it is lifted to."""
TESTS: Final = ("__init__.py", "conftest.py", "ingest.py", "screens.py", "telemetry")
"""The tests that go along: those of telemetry, and what they share."""
TEST_TOOLS: Final = (
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "anyio",
    "hypothesis",
    "sentry-relay",
    "loguru",
    "structlog",
)
FRAMEWORKS: Final = (
    "brotli",
    "livekit-agents",
    "livekit-plugins-openai",
    "genai-prices",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-sdk",
    "aiohttp",
    "httpx",
    "httpx2",
    "jinja2",
    "starlette",
    "uvicorn",
    "websockets",
)
"""Everything that the integrations integrate, that the viewer is made with, and that their tests
serve it with."""
_IMPORT: Final = re.compile(
    r"""(?P<before>^[ ]*|["';][ ]*)"""  # at the start of a line, or in a script that a test runs
    r"(?:from telemetry(?P<module>[.\w]*) import\b|import telemetry\b(?P<submodule>[.\w]+)?)",
    re.MULTILINE,
)
_ALL_MODULES: Final = """
import importlib, pkgutil
package = importlib.import_module("{name}")
modules = [
    module.name
    for module in pkgutil.walk_packages(package.__path__, "{name}.")
    if not module.name.startswith(("{name}.integrations.", "{name}.viewer"))
]
for module in modules:
    importlib.import_module(module)
print(len(modules), "modules imported")
"""


class Lifted:
    """The copy and its environment."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.python = folder / ".venv" / "bin" / "python"
        self._uv = find_uv()
        self._run(self._uv, "venv", "--quiet", "--python", sys.executable, folder / ".venv")
        nothing_built = shutil.ignore_patterns("__pycache__")
        package = folder.joinpath(*name.split("."))
        shutil.copytree(ROOT / "telemetry", package, ignore=nothing_built)
        for around in package.relative_to(folder).parents[:-1]:
            (folder / around / "__init__.py").touch()
        shutil.copy(ROOT / "pyproject.toml", folder)  # pytest's settings
        for name in TESTS:
            source, target = ROOT / "tests" / name, folder / "tests" / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=nothing_built)
            else:
                target.parent.mkdir(exist_ok=True)
                shutil.copy(source, target)
        for test in (folder / "tests").rglob("*.py"):
            test.write_text(_IMPORT.sub(self._renamed, test.read_text()))

    def install(self, *packages: str, oldest: bool = False) -> None:
        """Install packages: of the versions that the project asks for the newest, or the oldest."""
        versions = _versions()
        wanted = [versions.get(package, package) for package in packages]
        resolution = "lowest-direct" if oldest else "highest"
        install = (self._uv, "pip", "install", "--quiet", "--python", self.python)
        self._run(*install, "--resolution", resolution, *wanted)

    def import_all(self) -> None:
        """Import every module of the core."""
        self._run(self.python, "-W", "error", "-c", _ALL_MODULES.format(name=self.name))

    def test(self, *arguments: str | Path) -> None:
        """Run pytest, side by side in two processes: few of these tests wait."""
        beside = ("--numprocesses", "2", "--dist", "worksteal")
        self._run(self.python, "-m", "pytest", "-q", "-m", "not system", *beside, *arguments)

    def _renamed(self, found: re.Match[str]) -> str:
        if found["module"] is not None:
            statement = f"from {self.name}{found['module']} import"
        elif found["submodule"]:
            statement = f"import {self.name}{found['submodule']}, {self.name} as telemetry"
        else:
            statement = f"import {self.name} as telemetry"
        return found["before"] + statement

    def _run(self, *command: str | Path) -> None:
        subprocess.run([str(word) for word in command], cwd=self.folder, check=True)


def _versions() -> dict[str, str]:
    """The project's requirements, by package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted: Iterable[str] = (
        *project["project"]["dependencies"],
        *itertools.chain(*project["project"]["optional-dependencies"].values()),
        *project["dependency-groups"]["dev"],
    )
    return {re.split(r"[^\w.-]", requirement)[0]: requirement for requirement in wanted}


def find_uv() -> str:
    """Where uv is: installed, or where ``make setup`` puts it."""
    beside = (ROOT / ".cache/uv/bin/uv", Path(sys.executable).parent / "uv")
    found = shutil.which("uv") or next((str(path) for path in beside if path.exists()), None)
    if found is None:
        sys.exit("no uv on PATH, in .cache/uv or beside python: run `make setup`")
    return found


def main() -> None:
    """The program; it exits with the status of what failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.lift", description=__doc__)
    parser.add_argument("--core", action="store_true", help="leave out the integrations")
    parser.add_argument("--oldest", action="store_true", help="on the oldest sentry-sdk allowed")
    parser.add_argument("--nested", action="store_true", help=f"lift it to {NESTED}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lift-") as folder:
        try:
            lifted = Lifted(Path(folder), NESTED if given.nested else NAME)
            lifted.install("sentry-sdk", oldest=given.oldest)
            lifted.import_all()
            lifted.install(*TEST_TOOLS)
            lifted.test(
                "tests/telemetry",
                "--ignore=tests/telemetry/integrations",
                "--ignore=tests/telemetry/viewer",
                "--deselect=tests/telemetry/test_readme.py::test_two_lines_for_livekit",
            )
            if not given.core:
                lifted.install(*FRAMEWORKS)
                lifted.test(
                    "tests/telemetry/integrations",
                    "tests/telemetry/test_readme.py",
                )
        except subprocess.CalledProcessError as failed:
            sys.exit(failed.returncode)


if __name__ == "__main__":
    main()
