"""Settings and shipped configuration.

``settings``
    The operator's :class:`Settings`, from the environment and ``.env``.
``strict_json``
    Reads the settings that are JSON.
``name_lists``
    Reads those that list names.
``provider_names``
    Reads those that name providers, and their options and prices.
``keeping``
    Reads those that say how much is kept.
``collecting``
    Reads those that name a collector of OpenTelemetry's.
``listening``
    Those of the ports at which others ask.
``turns``
    Those of who speaks when.
``settings_doc``
    Writes ``docs/settings.md``, the reference of all of them.
``loading``
    :func:`load` reads them; :func:`export_dotenv` makes ``.env`` part of the environment.
``shipped``
    The files that come with Parley: :func:`scenario_files`, and :func:`question`, some speech.
``scenarios``
    The shipped scenarios themselves, and the makers of their audio.
"""

from __future__ import annotations

from .loading import SettingsError, export_dotenv, load
from .settings import Settings
from .shipped import question, scenario_files

__all__ = ["Settings", "SettingsError", "export_dotenv", "load", "question", "scenario_files"]
