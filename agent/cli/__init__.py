"""The ``parley`` command.

``app``
    The commands and their words in ``--help``; :func:`main`.
``terminal``
    Standard output and error that take all that is written to them.
``process``
    Settings, logging and telemetry of a running command.
``ending``
    Its end: what each signal asks for, and the deadline.
``serve``
    ``serve``: the gateway, in this process or in several.
``processes``
    The process that keeps those: signals, replacement, metrics of all.
``line``
    The line between it and each of them: what it asks for, and that it is gone.
``rooms``
    ``start`` and ``dev``: the LiveKit agent worker.
``simulate``, ``simulate_options``
    ``simulate``, the command, and its options.
``simulation``
    A run: agent, callers and the service they book at.
``scenarios``
    The scenarios of a project, which the run is of when none is named.
``transports``
    The lines from simulated callers to the agent: the gateway, or rooms.
``trace_commands``, ``traces``, ``stored_error``
    ``traces``: its commands, conversations from the local trace stores, and an error of theirs.
``viewer``
    ``viewer``: conversations in a browser.
``deleting``
    ``traces delete``: what of them is to be gone.
``tune``, ``tuning``
    ``tune``, the command, and the runs that it makes.
``compare``
    Two runs of the simulator side by side.
``check``, ``probes``
    ``check``, and the ways it reaches everything that a worker depends on.
``new``
    ``new``: the beginning of an agent of one's own, copied from ``new-agent``.
"""

from __future__ import annotations

from .app import main

__all__ = ["main"]
