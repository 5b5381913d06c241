"""A project's own scenarios are run, never the restaurant's; one without any is told so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from agent.cli.scenarios import chosen, known
from agent.simulator import ScenarioError
from config import load, scenario_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AGENT = "from livekit.agents import Agent\nclass Museum(Agent):\n    pass\n"
DESK = "from agent.desk import FrontDesk\nclass Desk(FrontDesk):\n    pass\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an agent in it, where the command is started; its modules are forgotten."""
    before = set(sys.modules)
    (tmp_path / "own_museum.py").write_text(AGENT)
    (tmp_path / "own_desk.py").write_text(DESK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARLEY_SCENARIOS", raising=False)
    yield tmp_path
    for name in [name for name in set(sys.modules) - before if name.startswith("own_")]:
        del sys.modules[name]


def _scenario(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"name: {path.stem}\nturns: [text: hello]\n")


def _chosen(*names: str, agent: str = "own_museum:Museum", **settings: Any) -> list[str]:
    return [each.name for each in chosen(load(agent=agent, **settings), names)]


def test_the_example_has_the_shipped_ones(project: Path) -> None:
    """The restaurant's callers call the restaurant, whatever else is in the folder."""
    _scenario(project / "scenario.yaml")
    shipped = [path.stem for path in scenario_files()]
    assert list(known(load())) == shipped
    assert _chosen("typed", agent="agent.desk:FrontDesk") == ["typed"]
    assert list(known(load(agent="agent.desk.agent:FrontDesk"))) == shipped
    assert _chosen("pauses", agent="agent.desk:FrontDesk") == [
        path.stem for path in scenario_files("pauses")
    ]


@pytest.mark.parametrize(
    "files",
    [
        ["scenario.yaml"],
        ["scenario.yml"],
        ["scenarios/a.yaml", "scenarios/b.yml"],
        ["scenarios/a.yaml", "scenario.yaml"],
    ],
)
def test_a_project_has_its_own(project: Path, files: list[str]) -> None:
    """A file beside the agent, a folder of them, or both."""
    for file in files:
        _scenario(project / file)
    (project / "scenarios" / "notes.txt").parent.mkdir(exist_ok=True)
    _scenario(project / "scenarios" / "b.yml")
    (project / "scenarios" / "notes.txt").write_text("no scenario")
    names = sorted({"b", *(file.rpartition("/")[2].partition(".")[0] for file in files)})
    assert sorted(_chosen()) == names
    assert _chosen("b", names[0]) == ["b", names[0]]
    with pytest.raises(ScenarioError, match=f"unknown scenario 'booking': known are {names[0]}"):
        _chosen("booking")


def test_beside_the_agent_goes_before_where_it_is_started(project: Path) -> None:
    """An agent in a package of its own brings its callers; without any, the folder's are its."""
    package = project / "own_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "bot.py").write_text(AGENT)
    _scenario(project / "scenarios" / "here.yaml")
    assert _chosen(agent="own_package.bot:Museum") == ["here"]
    _scenario(package / "scenarios" / "beside.yaml")
    assert _chosen(agent="own_package.bot:Museum") == ["beside"]


def test_the_setting_goes_before_all(project: Path) -> None:
    """PARLEY_SCENARIOS names a folder or a file, for the example too."""
    _scenario(project / "scenario.yaml")
    _scenario(project / "others" / "one.yaml")
    for agent in ("own_museum:Museum", "agent.desk:FrontDesk"):
        assert _chosen(agent=agent, scenarios=project / "others") == ["one"]
        assert _chosen(agent=agent, scenarios=project / "others" / "one.yaml") == ["one"]
    (project / "empty").mkdir()
    for path, problem in {"gone": "no such file or folder", "empty": "no .yaml file"}.items():
        with pytest.raises(ScenarioError, match=rf"^PARLEY_SCENARIOS: .*{path}: .*{problem}"):
            _chosen(scenarios=project / path)


def test_a_restaurant_of_ones_own_may_have_its_own(project: Path) -> None:
    """An agent made of the example has the example's callers, until it has others."""
    assert "booking" in known(load(agent="own_desk:Desk"))
    _scenario(project / "scenario.yaml")
    assert _chosen(agent="own_desk:Desk") == ["scenario"]


def test_none_is_one_line(project: Path) -> None:
    """It says where one was looked for, and what to do; a path or a folder can be named anyway."""
    with pytest.raises(ScenarioError) as refused:
        _chosen()
    assert str(refused.value) == (
        f"own_museum:Museum has no scenario: write scenario.yaml or scenarios/*.yaml in {project}, "
        "name a file, or set PARLEY_SCENARIOS"
    )
    with pytest.raises(ScenarioError, match="unknown scenario 'booking': known are none"):
        _chosen("booking")
    _scenario(project / "calls" / "one.yaml")
    _scenario(project / "calls" / "two.yaml")
    assert _chosen("calls/two.yaml") == ["two"]
    assert _chosen("calls") == ["one", "two"]
