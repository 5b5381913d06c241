"""Settings that say how much is kept: an age and a size, as in ``30d, 2GB``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

DAY_SECONDS: Final = 86_400
GIGABYTE: Final = 10**9

_SECONDS: Final = {"h": 3_600, "d": DAY_SECONDS}
_BYTES: Final = {"MB": 10**6, "GB": GIGABYTE}
_PART: Final = re.compile(r"(\d{1,6}) ?(h|d|MB|GB)")


@dataclass(frozen=True, slots=True)
class Keep:
    """The most that is kept."""

    seconds: int
    bytes: int

    def __str__(self) -> str:
        """As the setting is written."""
        return f"{_in(self.seconds, _SECONDS)}, {_in(self.bytes, _BYTES)}"


def keep_in(value: object) -> object:
    """The age and the size in a text; anything but a text as it is.

    Raises:
        ValueError: it says something else.
    """
    if not isinstance(value, str):
        return value
    seconds: list[int] = []
    size: list[int] = []
    for part in value.split(","):
        found = _PART.fullmatch(part.strip())
        number = int(found[1]) if found else 0
        if not found or not number:
            raise ValueError(f"{value!r} should be an age and a size, like 30d, 2GB or 12h, 500MB")
        if found[2] in _SECONDS:
            seconds.append(number * _SECONDS[found[2]])
        else:
            size.append(number * _BYTES[found[2]])
    if len(seconds) != 1 or len(size) != 1:
        raise ValueError(f"{value!r} should be one age and one size, like 30d, 2GB")
    return Keep(seconds[0], size[0])


Kept = Annotated[Keep, NoDecode, BeforeValidator(keep_in)]
"""The type of such a setting."""

KEPT: Any = Field(
    Keep(seconds=30 * DAY_SECONDS, bytes=2 * GIGABYTE),
    validation_alias="PARLEY_TRACE_KEEP",
    description="How long, and up to which size of the file, conversations stay in the local "
    "store; the oldest go first.",
)
UNSENT: Any = Field(
    Keep(seconds=3 * DAY_SECONDS, bytes=GIGABYTE // 2),
    validation_alias="PARLEY_TRACE_KEEP_UNSENT",
    description="How long, and up to which size, what Sentry doesn't take waits in the local "
    "store, for each process; what is worth least goes first.",
)
RECORD: Any = Field(
    "off",
    validation_alias="PARLEY_RECORD",
    description="Which calls are recorded, caller and agent in stereo, beside the local trace "
    "store: none, those in which something failed, or all. A recording is deleted with its "
    "conversation.",
)
RECORDED: Any = Field(
    Keep(seconds=30 * DAY_SECONDS, bytes=2 * GIGABYTE),
    validation_alias="PARLEY_RECORD_KEEP",
    description="How long, and up to which size of all together, recordings stay; the oldest go "
    "first, their conversations stay.",
)


def _in(value: int, units: dict[str, int]) -> str:
    unit = max((one for one in units if value % units[one] == 0), key=units.__getitem__)
    return f"{value // units[unit]}{unit}"
