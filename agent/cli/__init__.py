"""The ``parley`` command.

``app``
    The commands and what they say in ``--help``; :func:`main`.
``process``
    Settings, logging, telemetry and signals of a running command.
``simulate``, ``traces``
    The commands with something to show.
"""

from __future__ import annotations

from .app import main

__all__ = ["main"]
