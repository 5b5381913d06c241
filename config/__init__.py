"""Settings and shipped configuration.

``settings``
    What the operator chose, from the environment and ``.env``: :class:`Settings`, read by
    :func:`load`; :func:`export_dotenv` makes ``.env`` part of the environment.
``settings_doc``
    Writes ``docs/settings.md``, the reference of all of them.
``shipped``
    What comes with Parley: :func:`scenario_files`, the scenarios in ``config/scenarios``, and
    :func:`question`, some speech.
"""

from __future__ import annotations

from .settings import Settings, SettingsError, export_dotenv, load
from .shipped import question, scenario_files

__all__ = ["Settings", "SettingsError", "export_dotenv", "load", "question", "scenario_files"]
