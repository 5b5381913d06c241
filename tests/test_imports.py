"""The contracts about imports hold, and fail when any of their arrows is turned."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGES = ("agent", "config", "telemetry")

TURNED = {
    # the module that imports upwards, and what it imports: the contract that notices
    ("telemetry/context/chain.py", "telemetry.trace.span"): "built in layers",
    ("telemetry/trace/span.py", "telemetry.encoding.envelope"): "built in layers",
    ("telemetry/encoding/values.py", "telemetry.delivery.drops"): "built in layers",
    ("telemetry/store/trace_store.py", "telemetry.delivery.thread"): "built in layers",
    ("telemetry/delivery/outbox.py", "telemetry.runtime"): "built in layers",
    ("telemetry/runtime.py", "telemetry.api"): "built in layers",
    ("telemetry/configure.py", "telemetry.testing"): "built in layers",
    ("telemetry/configure.py", "telemetry.viewer.app"): "built in layers",
    ("telemetry/store/several.py", "jinja2"): "needs nothing but sentry-sdk",
    ("telemetry/trace/span.py", "telemetry.trace.transaction"): "no circle of imports",
    ("telemetry/delivery/messages.py", "telemetry.delivery.processor"): "no circle of imports",
    ("agent/simulator/report.py", "agent.simulator.check_trace"): "no circle of imports",
    ("agent/cli/simulate_options.py", "agent.cli.simulate"): "no circle of imports",
    ("agent/session/voice.py", "agent.gateway.server"): "import downwards only",
    ("agent/session/voice.py", "telemetry.delivery.thread"): "public modules only",
    ("telemetry/attributes.py", "config.settings"): "know neither each other",
    ("telemetry/api.py", "anyio"): "needs nothing but sentry-sdk",
    ("agent/session/voice.py", "sentry_sdk"): "only telemetry talks to Sentry",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and their contracts, to be changed."""
    folder = tmp_path_factory.mktemp("imports")
    for package in PACKAGES:
        nothing_built = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=nothing_built)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture
def turned(copy: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The copy with one more import, for typing only."""
    importer, imported = request.param
    module = copy / importer
    before = module.read_text()
    module.write_text(f"{before}\nif TYPE_CHECKING:\n    import {imported}\n")
    yield copy
    module.write_text(before)


def lint(folder: Path) -> str:
    """Check the contracts of the packages in a folder."""
    # The packages are found where the command is started, before those that are installed.
    lint = "from importlinter.cli import lint_imports_command as lint; lint()"
    command = f"import sys; sys.path.insert(0, '.'); {lint}"
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    ).stdout


def broken(output: str) -> list[str]:
    """The names of the contracts that are broken."""
    return [line.partition(" BROKEN")[0] for line in output.splitlines() if " BROKEN" in line]


def test_the_contracts_hold(copy: Path) -> None:
    """As things are, each of them is kept."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    output = lint(copy)
    assert f"Contracts: {len(contracts['contracts'])} kept, 0 broken." in output, output


@pytest.mark.parametrize(("turned", "contract"), TURNED.items(), indirect=["turned"], ids=str)
def test_a_turned_arrow_is_noticed(turned: Path, contract: str) -> None:
    """An import against the arrows breaks its contract, even if it is for typing only."""
    assert any(contract in name for name in broken(lint(turned)))
