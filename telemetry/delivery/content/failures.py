"""What exceptions say, marked with who wrote it; of those known here, what they are, in short.

A message is the program's as far as it is a constant of the code that raised it. Errors of the
system and of protocols say more than that, in numbers and names of their own: those are added, and
what they quote (a file's name, a URL, an answer's body) isn't.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import sqlite3
import ssl
from typing import TYPE_CHECKING, Any, Final

from ...context.wording import chain_of
from ...written import FILTERED, Written, raisers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ...written import Author

_LIBRARIES: Final = frozenset(
    [
        "aiohttp",
        "anyio",
        "asyncio",
        "grpc",
        "http",
        "httpcore",
        "httpx",
        "httpx2",
        "livekit",
        "openai",
        "requests",
        "ssl",
        "urllib",
        "urllib3",
        "websockets",
    ]
)
"""Packages whose exceptions have numbers of a protocol under these names."""
_NUMBERS: Final = ("status_code", "status", "code")
_BESIDE: Final = ("", "response", "rcvd")
"""Attributes of an exception that have the numbers, besides itself."""
_UPPER: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_ADDRESS_ERRORS: Final = {
    getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")
}


def mark(
    event: Any, error: BaseException, author: Author | None, wanted: Collection[str] = ()
) -> None:
    """Mark the texts of an exception's event, made just now, with who wrote them.

    Args:
        event: the event.
        error: its exception.
        author: whoever captured it, which is who made an exception that nobody raised.
        wanted: types of exceptions that may say all they say, as ``Type`` or ``module.Type``.
    """
    values = (event.get("exception") or {}).get("values") or []
    for value, one in zip(reversed(values), chain_of(error), strict=False):
        text, is_its = value.get("value"), value.get("type") == type(one).__name__
        if is_its and isinstance(text, str) and not isinstance(text, Written):
            value["value"] = _marked(text, one, author, wanted)


def _marked(
    text: str, error: BaseException, author: Author | None, wanted: Collection[str]
) -> Written:
    if wanted and any(
        {kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}"} & {*wanted}
        for kind in type(error).__mro__
    ):
        return Asked(text)
    authors = raisers(error)
    if error.__traceback__ is None and author is not None:
        authors = (author, *authors)
    facts = ", ".join(_facts(error))
    if not facts:
        return Written(text, *authors)
    found = Written(text, *authors).code
    return Written(text, code=facts if FILTERED in found else f"{found} ({facts})")


class Asked(Written):
    """A text that the operator wants sent, searched for what was said."""

    __slots__ = ()

    def __new__(cls, text: str) -> Asked:  # noqa: D102
        made = super().__new__(cls, text)
        assert isinstance(made, Asked)
        return made

    @property
    def code(self) -> str:
        """All of it."""
        return str.__str__(self)


def _facts(error: BaseException) -> Iterator[str]:
    """What an exception is, in the system's or a protocol's own terms."""
    try:
        yield from _of_system(error)
        package = type(error).__module__.partition(".")[0]
        if package in _LIBRARIES:
            yield from _of_protocol(error)
    except Exception:  # noqa: BLE001 - an attribute of the application's own that fails
        return


def _of_system(error: BaseException) -> Iterator[str]:
    match error:
        case ssl.SSLError():
            if isinstance(error.reason, str) and _UPPER.fullmatch(error.reason):
                yield f"[SSL: {error.reason}]"
        case socket.gaierror() if error.errno in _ADDRESS_ERRORS:
            yield f"[Errno {error.errno}] {_ADDRESS_ERRORS[error.errno]}"
        case OSError(errno=int(number)) if number in errno.errorcode:
            yield f"[Errno {number}] {os.strerror(number)}"
        case sqlite3.Error():
            known = getattr(error, "sqlite_errorname", None)
            if isinstance(known, str) and _UPPER.fullmatch(known):
                yield known


def _of_protocol(error: BaseException) -> Iterator[str]:
    for place in _BESIDE:
        holder = getattr(error, place, None) if place else error
        for name in _NUMBERS:
            value = None if holder is None else getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < int(value) < 10_000:
                yield f"{name} {int(value)}"
                return
