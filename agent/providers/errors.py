"""The one error of loading providers."""

from __future__ import annotations

from agent.errors import InputError


class ProviderError(InputError):
    """A provider that can't be used as configured. One line of text: what is missing, and the way
    to get it."""
