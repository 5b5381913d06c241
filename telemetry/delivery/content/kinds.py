"""How a value has to look to be sent, and what of it is: each returns None for "leave it out"."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ...written import FILTERED, Written

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_WORD: Final = 200
LONGEST_NAME: Final = 200
LONGEST_PATH: Final = 1_000
LONGEST_QUERY: Final = 2_000
"""Characters."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.:/@+~<>-]+")
_LOGGER: Final = re.compile(r"[A-Za-z_][\w.:-]{0,99}")
_PATH: Final = re.compile(r"[\w./\\:<>~@+ -]+")
_ROUTE: Final = re.compile(r"(?:/[A-Za-z0-9_.~@:{}<>*-]*)+|[A-Za-z_][\w.:-]*")
_METHOD: Final = re.compile(r"[A-Z]{3,10}")
_HOST: Final = re.compile(r"\[?[A-Za-z0-9_.:%-]+\]?")
_TYPE: Final = re.compile(r"[A-Za-z_][\w.<>]*")
_THREAD: Final = re.compile(
    r"MainThread|Thread-\d+(?: \(\w+\))?|Dummy-\d+|ThreadPoolExecutor-\d+_\d+|asyncio_\d+"
    r"|AnyIO worker thread|(?:telemetry|parley|livekit|sentry)[\w.-]{0,60}|Task-\d+"
)
"""Names that threads and tasks have where nobody gave them one."""


def anything(value: Any) -> Any:
    """Whatever it is."""
    return value


def number(value: Any) -> Any:
    """A number, or True or False."""
    return value if isinstance(value, (bool, int, float)) else None


def word(value: Any) -> Any:
    """One word, such as an id or a member of an enumeration; or a number."""
    if type(value) is str:
        return value if _is_word(value) else None
    if isinstance(value, (bool, int, float)):
        return value
    if not isinstance(value, str) or (isinstance(value, Written) and not value.is_code):
        return None
    return value if _is_word(str.__str__(value)) else None


@functools.lru_cache(256)  # names and models come again, ids hardly do
def _is_word(text: str) -> bool:
    return len(text) <= LONGEST_WORD and bool(_WORD.fullmatch(text))


def words(value: Any) -> Any:
    """A word, or a list of words."""
    return _each(value, word)


def filtered(value: Any) -> Any:
    """The sign that something was left out, and nothing else."""
    return value if value == FILTERED else None


def listed(value: Any) -> Any:
    """A list of words, as it is or as JSON text; or a word."""
    if isinstance(value, str) and value.startswith("["):
        try:
            found = words(json.loads(value))
        except ValueError:
            return None
        return None if found is None else value
    return words(value)


def name(value: Any) -> Any:
    """A name of the operator's, which may have spaces."""
    if isinstance(value, Written) and not value.is_code:
        return FILTERED
    if isinstance(value, str) and len(value) <= LONGEST_NAME and value.isprintable():
        return value
    return None


def names(value: Any) -> Any:
    """A name, or a list of names."""
    return _each(value, name)


def path(value: Any) -> Any:
    """Where code is: a file, a module, a function."""
    return _fits(value, _PATH, LONGEST_PATH)


def route(value: Any) -> Any:
    """A route, with its parameters named."""
    return _fits(value, _ROUTE)


def logger(value: Any) -> Any:
    """The name of a logger: a module's, or like one."""
    return value if isinstance(value, str) and _LOGGER.fullmatch(value) else None


def method(value: Any) -> Any:
    """A method of HTTP."""
    return value if isinstance(value, str) and _METHOD.fullmatch(value) else None


def host(value: Any) -> Any:
    """A host's name or address."""
    return _fits(value, _HOST)


def kind_of_error(value: Any) -> Any:
    """An exception's type."""
    return _fits(value, _TYPE)


def thread(value: Any) -> Any:
    """The name of a thread or task that has one of its own making."""
    return value if isinstance(value, str) and _THREAD.fullmatch(value) else None


def url(value: Any) -> Any:
    """A URL's scheme, host and port: its path, its query and its user say what somebody wants."""
    if not isinstance(value, str):
        return None
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or host(parts.hostname) is None or word(parts.scheme) is None:
        return None
    shown = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")


def _fits(value: Any, pattern: re.Pattern[str], longest: int = LONGEST_NAME) -> Any:
    """A text that is a match as a whole, and no longer than that; else None."""
    if isinstance(value, str) and len(value) <= longest and pattern.fullmatch(value):
        return value
    return None


def _each(value: Any, one: Callable[[Any], Any]) -> Any:
    if not isinstance(value, (list, tuple)):
        return one(value)
    found = [one(member) for member in value]
    return None if None in found else found


# -- queries ---------------------------------------------------------------------------------------

_VERBS: Final = frozenset(
    [
        "ALTER",
        "ANALYZE",
        "BEGIN",
        "CALL",
        "COMMIT",
        "CREATE",
        "DELETE",
        "DROP",
        "EXEC",
        "EXECUTE",
        "EXPLAIN",
        "INSERT",
        "MERGE",
        "PRAGMA",
        "RELEASE",
        "REPLACE",
        "ROLLBACK",
        "SAVEPOINT",
        "SELECT",
        "SET",
        "SHOW",
        "START",
        "TRUNCATE",
        "UPDATE",
        "UPSERT",
        "VACUUM",
        "VALUES",
        "WITH",
    ]
)
_VERB: Final = re.compile(r"\s*([A-Za-z]+)\b")
_DOUBT: Final = re.compile(r"\\|\$\w*\$|--|/\*|#|\b[qQnNbBxXuU]'|[^\x00-\x7f]|%(?![s(])|&")
"""What one dialect reads as a text or a comment and another doesn't."""
_VALUE: Final = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\b0[xX][0-9A-Fa-f]+\b|\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b"""
)
_REDIS: Final = re.compile(r"[A-Z]{2,20}(?=\s|$)")


def query(value: Any) -> Any:
    """A database query without its values; only its verb where there is doubt what they are."""
    if not isinstance(value, str):
        return None
    if isinstance(value, Written) and value.is_code:
        return str.__str__(value)
    found = _VERB.match(value)
    if found is None or (verb := found[1].upper()) not in _VERBS:
        command = _REDIS.match(value)
        return command[0] if command else None
    bare = _VALUE.sub("?", value)
    if len(value) > LONGEST_QUERY or _DOUBT.search(bare) or any(mark in bare for mark in "'\"`"):
        return verb
    return " ".join(bare.split())
