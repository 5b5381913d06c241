"""Settings and shipped configuration.

``settings``
    What the operator chose, from the environment and ``.env``: :class:`Settings`, read by
    :func:`load`.
``shipped``
    What comes with Parley: :func:`scenario_files`, the scenarios in ``config/scenarios``.
"""

from __future__ import annotations

from .settings import Settings, SettingsError, load
from .shipped import scenario_files

__all__ = ["Settings", "SettingsError", "load", "scenario_files"]
