"""The one error of loading providers."""

from __future__ import annotations

from agent.errors import InputError


class ProviderError(InputError):
    """A provider can't be used as configured. One line: what is missing, and how to get it."""
