"""Settings that list names, separated by commas."""

from __future__ import annotations

import re
from typing import Final

_LOOKS: Final = {
    "propagate_to": (
        re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]"),
        "a host name or address, without scheme, port or path",
    ),
    "send_attributes": (
        re.compile(r"[\w:/-]+(?:\.[\w:/-]+)*(?:\.?\*)?"),
        "a name like app.party_size or app.*",
    ),
    "send_errors": (
        re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"),
        "a type's name like NoTable or restaurant.errors.NoTable",
    ),
    "keep": (
        re.compile(r"errors|interrupted|(?:slower|longer):\d+(?:\.\d+)?|outcome:[\w.-]+"),
        "a rule: errors, interrupted, slower:SECONDS, longer:SECONDS or outcome:NAME",
    ),
}
"""How each has to look, by field: as :func:`telemetry.init` takes it."""


def names_in(value: object, field: str) -> object:
    """The names in a field's text; anything but a text as it is.

    Raises:
        ValueError: one doesn't look like a name.
    """
    if not isinstance(value, str):
        return value
    names = tuple(name for part in value.split(",") if (name := part.strip()))
    pattern, like = _LOOKS[field]
    for name in names:
        if not pattern.fullmatch(name):
            raise ValueError(f"{name!r} should be {like}")
    return names
