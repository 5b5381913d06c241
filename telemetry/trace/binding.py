"""Carries a conversation and a span into another task, thread, executor or callback."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from ..context import chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..context.node import Link
    from .span import Span

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Attached(Generic[T]):
    """A block in which a conversation is current though it was opened elsewhere."""

    def __init__(self, conversation: T, span: Span) -> None:
        self._conversation = conversation
        self._span = span
        self._link: Link | None = None

    def __enter__(self) -> T:
        self._link = chain.push(self._span, self._span.marker())
        return self._conversation

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._link is not None:
            chain.pop(self._link, error)
            self._link = None


def bound(function: Callable[P, R], span: Span) -> Callable[P, R]:
    """The function, which then runs inside ``span``; plain or a coroutine function as it was."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose call is a coroutine
    ):

        @functools.wraps(function)
        async def bound_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            with Attached(None, span):
                return await function(*args, **kwargs)  # type: ignore[misc]  # it is a coroutine's

        return bound_coroutine  # type: ignore[return-value]  # R is the coroutine

    @functools.wraps(function)
    def bound_function(*args: P.args, **kwargs: P.kwargs) -> R:
        with Attached(None, span):
            return function(*args, **kwargs)

    return bound_function
