"""What wakes a task for each frame, fifty times a second in each call."""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes the one task that waits for it, if one does. It is rung for each frame, and takes less
    than an event."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    async def wait(self, until: float | None = None) -> None:
        """Wait for the next ring, or until a time on the loop's clock."""
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        if until is None:
            await self._waiting
            return
        alarm = loop.call_at(until, self.ring)
        try:
            await self._waiting
        finally:
            alarm.cancel()

    def ring(self) -> None:
        """Wake whoever waits."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
