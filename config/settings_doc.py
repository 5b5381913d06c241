"""Writes ``docs/settings.md``, the reference of all settings: ``python -m config.settings_doc``.

Everything in it comes from :mod:`config.settings`: the groups from the comments that divide the
class, the text from the fields' descriptions, the allowed values from their types or, where a
validator decides, from the words with which it refuses. So it can't say anything else than what
the program does; a test fails while the file is not what this module writes.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from pydantic import SecretStr

from . import Settings, SettingsError, load, settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PAGE: Final = Path(__file__).parents[1] / "docs" / "settings.md"
COMMAND: Final = "python -m config.settings_doc"

_GROUP: Final = re.compile(r"\s*# -- (?P<name>.+?) -{3,}")
"""The comment above a group of fields."""
_FIELD: Final = re.compile(r"    (?P<name>[a-z]\w*): ")
_CODE: Final = re.compile(r"\{.+\}|\b[A-Z]+(?:_[A-Z]+)+(?:=\w+)?\b")
"""JSON, and names of variables."""
_REFUSED: Final = "[]"
"""No field that checks its value allows this one."""
_HEAD: Final = f"""\
# Settings

<!-- Written by `{COMMAND}` from config/settings.py: change that, and run it again. -->

"""
_MARKS: Final = """\
What is marked *secret* is, or may hold, a key: no message repeats its value. A value that isn't
allowed is refused, in one line of text, when a command starts; `parley check` also tries what the
settings name.
"""
_TABLE: Final = """\
| variable | what it sets | default | unit, allowed values |
|---|---|---|---|
"""


def page() -> str:
    """The whole text of the page."""
    _, about = (inspect.getdoc(settings) or "").split("\n\n", 1)
    groups = (
        f"## {name[:1].upper()}{name[1:]}\n\n{_TABLE}{''.join(map(_row, fields))}"
        for name, fields in groups_of_fields().items()
    )
    return _HEAD + "\n".join([f"{about.replace('``', '`')}\n", _MARKS, *groups])


def groups_of_fields() -> dict[str, list[str]]:
    """The fields' names by the comment that they stand below, in the order of the source."""
    groups: dict[str, list[str]] = {}
    for line in inspect.getsource(Settings).splitlines():
        if group := _GROUP.fullmatch(line):
            groups[group["name"]] = []
        elif groups and (field := _FIELD.match(line)) and field["name"] in Settings.model_fields:
            groups[[*groups][-1]].append(field["name"])
    return groups


def unit(name: str) -> str:
    """The unit of a field that is a number: its description begins with it."""
    return (Settings.model_fields[name].description or "").split()[0].lower()


def is_number(name: str) -> bool:
    """Tell a number, or one that need not be set, from other fields."""
    return not _types(name).isdisjoint({int, float})


def is_secret(name: str) -> bool:
    """Tell a field that is a key, or may hold one, from others."""
    return SecretStr in _types(name) or not Settings.model_fields[name].repr


def _types(name: str) -> set[Any]:
    """A field's type, and what that is made of."""
    annotation = Settings.model_fields[name].annotation
    return {annotation, get_origin(annotation), *get_args(annotation)}


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    variable = str(field.validation_alias)
    cells = (
        f"`{variable}`{' *secret*' if is_secret(name) else ''}",
        _CODE.sub(r"`\g<0>`", field.description or ""),
        _default(field),
        _allowed(name, field),
    )
    return f"| {' | '.join(cells)} |\n"


def _default(field: FieldInfo) -> str:
    match field.get_default(call_default_factory=True, validated_data={}):
        case None | "":
            return "not set"
        case dict():
            return "none"
        case bool() as value:
            return f"`{str(value).lower()}`"
        case tuple() as value:
            return f"`{','.join(value)}`"
        case float() as value:
            return f"`{value:g}`"
        case value:
            return f"`{value}`"


def _allowed(name: str, field: FieldInfo) -> str:
    types = _types(name)
    if is_number(name):
        return f"{unit(name)}, {_range(field)}"
    if bool in types:
        return "`true` or `false`"
    if Path in types:
        return "a path"
    refusal = _refusal(name)
    if tuple in types:
        return f"{refusal}; several with commas between them"
    if dict in types:
        return _CODE.sub(r"`\g<0>`", f"JSON {refusal}")
    return refusal or "any text"


def _refusal(name: str) -> str | None:
    """The words in which a value is refused that isn't allowed; None where any is."""
    variable = str(Settings.model_fields[name].validation_alias)
    try:
        load(**{name: _REFUSED})
    except SettingsError as error:
        for line in str(error).splitlines():
            if line.startswith(f"{variable}: "):
                _, _, allowed = line.removesuffix(f", not {_REFUSED!r}").partition("should be ")
                return re.sub(r"'([A-Za-z]+)'", r"`\1`", allowed)
    return None


def _range(field: FieldInfo) -> str:
    limits = {
        limit: value
        for constraint in field.metadata
        for limit in ("ge", "gt", "le", "lt")
        if (value := getattr(constraint, limit, None)) is not None
    }
    match limits:
        case {"ge": low, "le": high}:
            return f"from {low} to {high}"
        case {"gt": low, "le": high}:
            return f"more than {low}, at most {high}"
        case {"ge": low} if len(limits) == 1:
            return f"at least {low}"
        case {"gt": low} if len(limits) == 1:
            return f"more than {low}"
    raise ValueError(f"no words for the limits {limits}")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
