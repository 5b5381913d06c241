"""The agent's class is found in the working directory; what hides there, or is hidden, is named."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest

from agent.session import AgentError, load_agent
from agent.session.agents import _warn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AGENT = "from livekit.agents import Agent\nclass Mine(Agent):\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, found last as a command of ours has it; its modules are forgotten."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield tmp_path
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        # a package without __init__.py has no file
        places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
        if any(place.startswith(str(tmp_path)) for place in places):
            del sys.modules[name]


def _write(folder: Path, **modules: str) -> None:
    for name, text in modules.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def _refused(path: str) -> str:
    with pytest.raises(AgentError) as refused:
        load_agent(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("module", ["own_agent", "own_package.inner", "jiwer"])
def test_a_module_of_the_folder_is_found(folder: Path, module: str) -> None:
    """A file, a package, one that an installed package has the name of; with what it imports."""
    assert module not in sys.modules or module == "jiwer"
    sys.modules.pop("jiwer", None)
    _write(folder, **{module.replace(".", "__"): f"from own_tools import PRICE\n{AGENT}"})
    _write(folder, own_tools="PRICE = 12")
    found = load_agent(f"{module}:Mine")
    assert (found.__name__, found.__module__) == ("Mine", module)
    assert load_agent(f"{module}:Mine") is found


def test_nothing_is_hidden_by_what_isnt_imported(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files that are called as Python's modules are, or ours, do no harm."""
    shadows = ("antigravity", "config", "agent", "telemetry", "logging", "queue", "av")
    _write(folder, own_agent=AGENT, **dict.fromkeys(shadows, "raise RuntimeError"))
    load_agent("own_agent:Mine")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("name", "owner"),
    [("config", "Parley's"), ("queue", "Python's"), ("jiwer", "an installed package's")],
)
@pytest.mark.parametrize("use", ["from {0} import PRICE", "import {0}\n{0}.PRICE"])
def test_a_module_that_isnt_the_one_meant_is_named(
    folder: Path, name: str, owner: str, use: str
) -> None:
    """The agent imports its own, and gets another: one line names the file that is hidden."""
    _write(folder, own_agent=f"{use.format(name)}\n{AGENT}", **{name: "PRICE = 12"})
    said = _refused("own_agent:Mine")
    assert f"{folder / name}.py isn't imported, for `{name}` is {owner} own name: rename it" in said


@pytest.mark.parametrize("name", ["agent", "telemetry", "logging", "time"])
def test_an_agent_in_such_a_file_is_named(folder: Path, name: str) -> None:
    """PARLEY_AGENT=agent:Mine is the first that comes to mind."""
    _write(folder, **{name: AGENT})
    said = _refused(f"{name}:Mine")
    assert f"PARLEY_AGENT='{name}:Mine': module '{name}' has no 'Mine'" in said
    assert f"{folder / name}.py isn't imported" in said


def test_a_module_that_is_used_later_is_warned_of(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It would fail in a call: it is said before, once."""
    _warn.cache_clear()
    _write(folder, own_agent=f"import config, logging\n{AGENT}", config="PRICE = 12")
    with caplog.at_level(logging.WARNING):
        load_agent("own_agent:Mine")
        load_agent("own_agent:Mine")
    [record] = caplog.records
    assert f"{folder / 'config.py'} isn't imported" in record.getMessage()


def test_mistakes_of_the_agents_own_stay_what_they_are(folder: Path) -> None:
    """Only a hidden module is explained: its author needs the traceback of anything else."""
    _write(folder, own_agent="import os\nos.no_such\n")
    with pytest.raises(AttributeError):
        load_agent("own_agent:Mine")
    assert "own_agent" not in sys.modules
    _write(folder, own_agent="import own_nowhere\n")
    assert _refused("own_agent:Mine") == (
        "PARLEY_AGENT='own_agent:Mine': No module named 'own_nowhere'"
    )
