"""Scenario files: reading them, finding them by name, and the JSON schema for editors.

An error in a file is one line of text: the file, the line in it, the field, the allowed values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml
from pydantic import ValidationError

from agent.errors import InputError
from agent.simulator import document
from agent.simulator import scenario as models
from agent.simulator.expect import Expect
from agent.simulator.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel


_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class ScenarioError(InputError):
    """A scenario that can't be used. One line of text: the file, the line in it, the field and the
    error."""


def load_scenario(path: Path) -> Scenario:
    """Read a scenario and its recordings. Raises :class:`ScenarioError`."""
    try:
        values, node = document.read(path)
    except document.DocumentError as error:
        row = "" if error.line is None else f":{error.line}"
        raise ScenarioError(f"{path}{row}: {error}") from error
    if node is None or not isinstance(values, dict):
        raise ScenarioError(f"{path}:1: a scenario is a mapping with a name and turns")
    try:
        return Scenario.model_validate(values, context={"folder": path.parent})
    except ValidationError as error:
        raise ScenarioError(f"{path}:{_explain(error, node)}") from error


def schema() -> str:
    """The JSON schema of a scenario, for editors that check and complete YAML."""
    fields = Scenario.model_json_schema()
    return json.dumps({"$schema": _DIALECT, **fields}, indent=2) + "\n"


def scenario_files(path: Path) -> list[Path]:
    """The scenario files that a path names: itself, or those in a folder, by name.

    Raises :class:`ScenarioError` when there is none.
    """
    if not path.is_dir():
        if not path.exists():
            raise ScenarioError(f"{path}: there is no such file or folder")
        return [path]
    found = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES)
    if not found:
        raise ScenarioError(f"{path}: there is no .yaml file in this folder")
    return found


def find_scenarios(names: Sequence[str], known: Mapping[str, Path]) -> list[Scenario]:
    """Load scenarios by the name of a known one, of a folder beside the known ones, or by path, of
    a file or a folder; all known ones when none is named.

    Raises :class:`ScenarioError`, for an unknown name too: it lists the known ones.
    """
    paths: list[Path] = []
    for name in names or known:
        path = known.get(name) or folder_beside(known, name) or Path(name)
        if name in known or path.suffix in _SUFFIXES:
            paths.append(path)
        elif path.is_dir():
            paths += scenario_files(path)
        else:
            listed = ", ".join(sorted(known)) or "none"
            raise ScenarioError(
                f"unknown scenario {name!r}: known are {listed}; or give the path of a .yaml file"
            )
    return [load_scenario(path) for path in paths]


def folder_beside(known: Mapping[str, Path], name: str) -> Path | None:
    """The folder of this name with further scenarios in it, beside a known one; None if there is
    none."""
    for folder in dict.fromkeys(path.parent for path in known.values()):
        found = folder / name
        if found.name == name and any(file.suffix in _SUFFIXES for file in found.glob("*.y*ml")):
            return found
    return None


_SUFFIXES: Final = frozenset({".yaml", ".yml"})
"""Suffixes of scenario files."""
_FIELDS: Final[Mapping[str | int, type[BaseModel]]] = {
    "spoken": models.SpokenTurn,
    "typed": models.TypedTurn,
    "silent": models.SilentTurn,
    "hang_up": models.HangUpTurn,
    "expect": Expect,
    "start": models.Start,
    "line": models.Line,
}
"""The model at the end of a pydantic location; the scenario itself is at the empty one."""


def _explain(error: ValidationError, root: yaml.Node) -> str:
    """``row: field: the error``, for the first error."""
    first, *more = error.errors(include_url=False)
    location = first["loc"]
    row, field = _locate(location, root)
    match first["type"]:
        case "missing":
            wrong = f"{location[-1]} is missing"
        case "extra_forbidden":
            model = _FIELDS.get(location[-2], Scenario) if len(location) > 1 else Scenario
            wrong = f"unknown field; allowed are {', '.join(model.model_fields)}"
        case "value_error" | "turn":
            wrong = first["msg"].removeprefix("Value error, ")
        case "int_type" | "int_parsing" | "int_parsing_size" | "int_from_float":
            wrong = f"it should be a whole number, not {first['input']!r:.60}"
        case _ if first["input"] is None:
            wrong = "it is empty: give a value, or put the word in quotes"
        case _:
            wrong = f"{first['msg'].replace('Input', 'it')}, not {first['input']!r:.60}"
    others = f" (and {len(more)} more)" if more else ""
    return f"{row}: {field}{': ' if field else ''}{wrong}{others}"


def _locate(location: Sequence[str | int], node: yaml.Node) -> tuple[int, str]:
    """The row of a pydantic location, and its field as it is written: ``turns[0].expect.reply``.

    A part that isn't in the document (a missing field, the tag of a union) is passed over, which
    leaves the row of the part around it.
    """
    row, field = node.start_mark.line + 1, ""
    for step in location:
        match node, step:
            case yaml.SequenceNode(), int() if step < len(node.value):
                node = node.value[step]
                row, field = node.start_mark.line + 1, f"{field}[{step}]"
            case yaml.MappingNode(), str():
                for key, value in node.value:
                    if key.value == step:
                        node = value
                        row = key.start_mark.line + 1
                        field = f"{field}.{step}" if field else step
                        break
            case _:
                break
    return row, field
