"""Strangers: connections that have not been admitted to a call, in a number that is bounded.

A connection is one from the moment it is accepted until its ``start`` has opened a call. None holds
a session's place. When there are as many as may be, the oldest one goes: of the address that has
most of them, so that one address can't drive out the callers at others.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Key = TypeVar("_Key")

MAX_STRANGERS: Final = 100
"""Number of connections that may wait for their ``start`` at once; most take milliseconds."""


class Strangers(Generic[_Key]):
    """The connections without a call, in the order of their arrival; ``most`` at once.

    ``send_away`` closes one of them, and must not block.
    """

    def __init__(self, send_away: Callable[[_Key], None], *, most: int = MAX_STRANGERS) -> None:
        self._send_away = send_away
        self._most = most
        self._addresses: dict[_Key, str] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._addresses)

    def arrive(self, connection: _Key, address: str) -> None:
        """Take in one more; another one is sent away when there is no place for it."""
        if len(self._addresses) >= self._most:
            [(busiest, _)] = Counter(self._addresses.values()).most_common(1)
            oldest = next(each for each, where in self._addresses.items() if where == busiest)
            del self._addresses[oldest]
            self._send_away(oldest)
        self._addresses[connection] = address

    def leave(self, connection: _Key) -> None:
        """Forget one: it is a caller now, or gone."""
        self._addresses.pop(connection, None)
