"""The ``parley`` command.

``app``
    The commands and what they say in ``--help``; :func:`main`.
``process``
    Settings, logging, telemetry and signals of a running command.
``simulate``, ``traces``, ``check``
    The commands with something to show.
``probes``
    How ``check`` reaches what a worker depends on.
``new``
    The beginning of an agent of one's own; ``new-agent`` is what it copies.
"""

from __future__ import annotations

from .app import main

__all__ = ["main"]
