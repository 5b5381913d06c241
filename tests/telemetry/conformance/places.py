"""Where code runs, for :mod:`.test_machine`: tasks and threads that wait for the next thing to do,
and the model of what is current in each.
"""

from __future__ import annotations

import _thread
import asyncio
import queue
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import telemetry


@dataclass(eq=False)
class Talk:
    """A conversation, and what must arrive of it."""

    conversation: telemetry.Conversation
    parents: dict[str, str | None] = field(default_factory=dict)
    """Span id to parent's id; the root's parent is None."""
    open: set[str] = field(default_factory=set)
    """Ids of its spans that were begun in time and not finished."""
    tags: dict[str, str] = field(default_factory=dict)
    ended: bool = False


@dataclass(eq=False)
class Block:
    """Something entered in one place: a conversation, an attached one, or a span."""

    talk: Talk
    span: telemetry.Span
    manager: AbstractContextManager[Any]
    late: bool = False
    """Entered after the end: so the end is no reason to pass over it."""
    over: bool = False
    """Ended for every task that is in it: what Sentry streams may have an end but no block."""

    @property
    def outlived(self) -> bool:
        """Whether it, or its conversation, was ended around those who are in it."""
        return self.over or (self.talk.ended and not self.late)


class Place:
    """What is current somewhere, and what has been entered there."""

    def __init__(self, born_in: Place | None = None) -> None:
        self.entered: list[Block] = []
        """Blocks to be left here, innermost last."""
        self._chain: list[Block] = [] if born_in is None else list(born_in._chain)
        """Blocks that it is inside of, those of its creator included."""
        self._outlived: Block | None = None if born_in is None else born_in._outlived

    @property
    def current(self) -> Block | None:
        """The innermost block, or None outside of any."""
        return self._chain[-1] if self._chain else None

    @property
    def nearest(self) -> Block | None:
        """What a span that starts here is a child of: the current block, or the one outlived."""
        return self.current or self._outlived

    def enter(self, block: Block) -> None:
        """Inside of it until it is left here."""
        self.entered.append(block)
        self._chain.append(block)

    def begin(self, block: Block) -> None:
        """Inside of it until it is over, wherever that happens."""
        self._chain.append(block)

    def leave(self, block: Block) -> None:
        """Out of it, in whatever order; those who inherited it are still inside."""
        self.entered.remove(block)
        if block in self._chain:
            self._chain.remove(block)
            self._uncover()
        outlived = self._outlived
        if outlived is not None and outlived.talk.conversation.root is block.span:
            self._outlived = outlived if block.late else None

    def settle(self) -> None:
        """A conversation has ended somewhere: what it was is current no longer."""
        last = self.current
        if last is not None and last.outlived:
            self._uncover()
            if self.current is None:
                self._outlived = last

    def _uncover(self) -> None:
        while self._chain and self._chain[-1].outlived:
            self._chain.pop()

    def run(self, job: Callable[[], Any]) -> Any:
        """Run it there and return what it returns."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the task or thread; a task is cancelled out of everything it has entered."""
        raise NotImplementedError


_Job = tuple["Callable[[], Any]", "Future[Any]"]


def _do(job: Callable[[], Any], done: Future[Any]) -> None:
    try:
        done.set_result(job())
    except BaseException as error:  # noqa: BLE001 - handed to whoever asked
        done.set_exception(error)


class Task(Place):
    """A task; made in another place, it inherits what is current there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, born_in: Place | None = None) -> None:
        super().__init__(born_in)
        self._loop = loop
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._task = loop.create_task(self._serve())

    async def _serve(self) -> None:
        try:
            while True:
                _do(*await self._jobs.get())
        except asyncio.CancelledError as error:
            for block in reversed(self.entered):
                block.manager.__exit__(type(error), error, None)
            raise

    def run(self, job: Callable[[], Any]) -> Any:
        """Run it there and return what it returns."""
        done: Future[Any] = Future()
        self._jobs.put_nowait((job, done))
        return self._loop.run_until_complete(asyncio.wrap_future(done, loop=self._loop))

    def stop(self) -> None:
        """Cancel it."""
        self._loop.run_until_complete(asyncio.sleep(0))  # it has begun, so it can be cancelled
        self._task.cancel()
        self._loop.run_until_complete(asyncio.wait([self._task]))


class Thread(Place):
    """A thread that nothing was carried into."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._stopped: Future[None] = Future()
        _thread.start_new_thread(self._serve, ())

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            _do(*job)
        self._stopped.set_result(None)

    def run(self, job: Callable[[], Any]) -> Any:
        """Run it there and return what it returns."""
        done: Future[Any] = Future()
        self._jobs.put((job, done))
        return done.result(10)

    def stop(self) -> None:
        """Let it end."""
        self._jobs.put(None)
        self._stopped.result(10)
