"""``parley new``: a folder to start from, in which everything works already."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from agent.errors import InputError

TEMPLATE: Final = Path(__file__).parent / "new-agent"
_DOT: Final = "dot-"
"""Prefix of the names of files that begin with a dot where they are written."""
_TEXT: Final = ".txt"
"""Suffix of the name of a file that is Python only where it is written."""


class FolderError(InputError):
    """A folder that can't be made. One line of text that says why."""


def make(folder: Path) -> list[Path]:
    """Write an agent, a scenario with speech, a test and settings into a new or empty folder.

    Returns the files. Raises :class:`FolderError`.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FolderError(f"{folder} is there and not empty: name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for source in sorted(TEMPLATE.rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                name = source.name.removesuffix(_TEXT)
                if name.startswith(_DOT):
                    name = f".{name.removeprefix(_DOT)}"
                target = folder / source.relative_to(TEMPLATE).with_name(name)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
                written.append(target)
    except OSError as error:
        raise FolderError(f"{folder} can't be written: {(error.strerror or '').lower()}") from error
    return written
