"""The scenarios of a project: those that ``parley simulate`` runs when none is named.

They belong to the agent. A museum's callers don't ask for a table: the example's scenarios are for
the example.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import desk
from agent.session import load_agent
from agent.simulator import ScenarioError, find_scenarios, folder_beside, scenario_files
from config import scenario_files as shipped_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.simulator import Scenario
    from config import Settings

FOLDER: Final = "scenarios"
PAUSES: Final = "pauses"
FILES: Final = ("scenario.yaml", "scenario.yml")


def chosen(settings: Settings, names: Sequence[str]) -> list[Scenario]:
    """The scenarios that are named, by name or by path, or all of the agent's.

    Raises:
        AgentError: there is no such agent.
        ScenarioError: one can't be used, or there is none.
    """
    found = known(settings)
    if not names and not found:
        places = " and ".join(map(str, _folders(settings.agent)))
        raise ScenarioError(
            f"{settings.agent} has no scenario: write {FILES[0]} or {FOLDER}/*.yaml in {places}, "
            "name a file, or set PARLEY_SCENARIOS"
        )
    return find_scenarios(names, found)


def with_pauses(settings: Settings) -> list[Scenario]:
    """All of the agent's scenarios, and those in a folder ``pauses`` beside them.

    Raises:
        AgentError: there is no such agent.
        ScenarioError: one can't be used, or there is none.
    """
    found = known(settings)
    further = [PAUSES] if folder_beside(found, PAUSES) is not None else []
    return chosen(settings, [*found, *further])


def known(settings: Settings) -> dict[str, Path]:
    """The scenarios of the agent that the settings name, by the names of their files; none if it
    has none.

    Raises:
        AgentError: there is no such agent.
        ScenarioError: ``PARLEY_SCENARIOS`` names no scenario.
    """
    if settings.scenarios is not None:
        try:
            return _named(scenario_files(settings.scenarios))
        except ScenarioError as error:
            raise ScenarioError(f"PARLEY_SCENARIOS: {error}") from error
    module = settings.agent.partition(":")[0]
    if module.split(".")[:2] == ["agent", "desk"]:
        return _named(shipped_files())
    agent = load_agent(settings.agent)
    for folder in _folders(settings.agent):
        if found := _beside(folder):
            return _named(found)
    return _named(shipped_files()) if issubclass(agent, desk.FrontDesk) else {}


def _folders(agent: str) -> list[Path]:
    """The agent's own folder, and the one that the command was started in."""
    module = agent.partition(":")[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    return list(dict.fromkeys([*([Path(file).parent] if file else []), Path.cwd()]))


def _beside(folder: Path) -> list[Path]:
    own = folder / FOLDER
    files = [folder / name for name in FILES if (folder / name).is_file()]
    return [*(scenario_files(own) if own.is_dir() else []), *files]


def _named(files: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        found[path.name if path.stem in found else path.stem] = path
    return found
