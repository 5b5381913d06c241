"""Debian's packages: programs that a system test needs and that pip can't bring."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from typing import Final

_INSTALL_TIMEOUT_SECONDS: Final = 600.0


class MissingError(Exception):
    """A program isn't there, and can't be installed from here: which, and the package it is in."""


def program(name: str, *, package: str | None = None) -> str:
    """The path of a program, installed with apt where it is missing and we are root.

    ``package`` is the package it is in, where that isn't called like the program. Raises
    :class:`MissingError`.
    """
    package = package or name
    found = _find(name)
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        _update()
        _apt_get("install", "--no-install-recommends", package)
        found = _find(name)
    if found is None:
        raise MissingError(f"{name} is not on PATH: install it (Debian's package: {package})")
    return found


def _find(name: str) -> str | None:
    """The program on PATH, or where root's programs are: not every root has those on PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


@functools.cache
def _update() -> None:
    """Fetch the lists of packages, once."""
    _apt_get("update")


def _apt_get(*command: str) -> None:
    subprocess.run(
        ["apt-get", "-y", "-qq", *command],
        check=True,
        timeout=_INSTALL_TIMEOUT_SECONDS,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
