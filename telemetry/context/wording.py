"""The texts of an exception, taken when it is handed over: its arguments may be changed after that.

The delivery thread makes an event of the exception, which takes long, and then puts right what the
event says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentry_sdk.utils import capture_internal_exceptions, get_error_message

from ..written import here
from . import origin

if TYPE_CHECKING:
    from collections.abc import Iterator


def texts_of(error: BaseException) -> list[str]:
    """The texts that the event of an exception says now, in the order of :func:`chain_of`."""
    texts: list[str] = []
    with capture_internal_exceptions():  # attributes of its own that fail
        texts += [get_error_message(one) for one in chain_of(error)]
    return texts


def keep_texts(error: BaseException) -> None:
    """Note on an exception what its event says now."""
    trail = origin.trail(error)
    trail.texts, trail.author = texts_of(error), next(iter(here()), None)


def reword(event: Any, error: BaseException, texts: list[str]) -> None:
    """Have the event of an exception, made just now, say what it said then."""
    values = (event.get("exception") or {}).get("values") or []
    if len(values) > len(texts) > 0 and not isinstance(error, BaseExceptionGroup):
        del values[: -len(texts)]  # it has been chained to others since
    if len(values) == len(texts):
        for value, text in zip(values, reversed(texts), strict=True):
            value["value"] = text


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of an event, in the order of the SDK: itself, what it was raised from, those
    it groups. An event lists them backwards.
    """
    is_group = isinstance(error, BaseExceptionGroup)
    known: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in known:
            continue
        known.add(id(one))
        yield one
        if is_group and isinstance(one, BaseExceptionGroup):
            waiting += reversed(one.exceptions)
        before = one.__cause__ if one.__suppress_context__ else one.__context__
        if before is not None:
            waiting.append(before)
