"""The documents are true where a program can tell: links, commands, and the code in the README."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import typer

from agent.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = ("agent", "config", "docs", "telemetry", "tests")
DOCUMENTS: Final = [
    *sorted(ROOT.glob("*.md")),
    *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")),
]

_LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]+)")
_FILE: Final = re.compile(r"`((?:agent|config|docker|docs|telemetry|tests)/[\w./-]+)`")
_COMMAND: Final = re.compile(r"(?:`|^\$ )parley ((?:[a-z]+|--[a-z-]+)\b[^`\n#]*)", re.MULTILINE)
_TARGET: Final = re.compile(r"(?:`|^\$ )make ([a-z-]+)", re.MULTILINE)
_PYTHON: Final = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix()
)


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    """Each file that a document links to is there, and each that it names by its whole path."""
    text = document.read_text("utf-8")
    assert [link for link in _LINK.findall(text) if not (document.parent / link).exists()] == []
    assert [file for file in _FILE.findall(text) if not (ROOT / file).exists()] == []


def options_of(command: str) -> Iterator[str]:
    """The options that a command line gives; an AssertionError if there is no such command."""
    here = typer.main.get_command(app)
    for word in command.split():
        subcommands: dict[str, typer.core.TyperCommand] = getattr(here, "commands", {})
        if word.startswith("--"):
            name = word.partition("=")[0]
            assert name == "--help" or any(
                name in (*p.opts, *p.secondary_opts) for p in here.params
            ), command
            yield name
        elif subcommands and word != "COMMAND":
            assert word in subcommands, command
            here = subcommands[word]


@each_document
def test_commands_exist(document: Path) -> None:
    """Each ``parley`` command that a document names, with its options, and each make target."""
    text = document.read_text("utf-8")
    for command in _COMMAND.findall(text):
        list(options_of(command))
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert [name for name in _TARGET.findall(text) if f"\n{name}:" not in makefile] == []


def test_the_two_lines_are_those_that_are_tested() -> None:
    """The README's code is that of telemetry's own README, which a test runs."""
    [block] = _PYTHON.findall((ROOT / "README.md").read_text("utf-8"))
    assert block in _PYTHON.findall((ROOT / "telemetry" / "README.md").read_text("utf-8"))
