"""Who talks in :mod:`.surroundings`: a host holds a conversation in a task, does what it is told,
and notes down what must arrive of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import warnings
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import loguru
import sentry_sdk
import structlog

import telemetry

from .surroundings import (
    BLOCKS,
    CARRIED,
    LEFT,
    SAYS,
    SETS,
    Block,
    Made,
    State,
    Step,
    World,
    hook,
    logger,
)
from .whole import foreign_transaction, plain, streaming

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractContextManager

_structured = structlog.wrap_logger(
    logger,
    processors=[structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.stdlib.BoundLogger,
)
_BY: Final[dict[str, Any]] = {
    "logging": logger,
    "structlog": _structured,
    "loguru": loguru.logger,
}


class Host:
    """One conversation, held by a task that does one step after the other."""

    def __init__(self, world: World, who: str, loop: asyncio.AbstractEventLoop) -> None:
        self.world, self.who, self.loop = world, who, loop
        self.traces: set[str] = set()
        self.closed = False
        self.final: State | None = None
        self.state = State(who)
        self._local: tuple[tuple[str, str], ...] = ()
        self._blocks: list[Block] = []
        self._jobs: asyncio.Queue[tuple[Callable[[], Any], Future[Any]] | None] = asyncio.Queue()
        self._kept: list[Any] = []
        self._late: list[asyncio.Task[Any]] = []
        self._stack = ExitStack()
        self._said: dict[str, int] = {}
        """What it gives to ``set_context`` each time, and changes afterwards."""
        self.other: Host = self
        self.context = contextvars.Context()
        """A copy of what its task is in, taken after each step."""
        self._conversation: telemetry.Conversation | None = None
        if world.surroundings.opened == "before":
            self._open()

    @property
    def conversation(self) -> telemetry.Conversation:
        assert self._conversation is not None
        return self._conversation

    def _open(self) -> None:
        self._conversation = telemetry.conversation(self.who, user={"id": self.who})
        self.traces.add(self.conversation.trace_id)
        self.conversation.isolation.add_event_processor(
            hook(self.world.surroundings.event_processor)
        )

    async def serve(self) -> None:
        """Hold the conversation until there is no more to do."""
        if self._conversation is None:
            self._open()
            self._stack.enter_context(self.conversation)
        else:
            self._stack.enter_context(self.conversation.attach())
        while (job := await self._jobs.get()) is not None:
            work, done = job
            try:
                done.set_result(await work())
            except BaseException as error:  # noqa: BLE001 - handed to whoever asked
                done.set_exception(error)
            self.context = contextvars.copy_context()

    def ask(self, work: Callable[[], Any]) -> Future[Any]:
        """Have the task do something, from another thread."""
        done: Future[Any] = Future()
        self.loop.call_soon_threadsafe(self._jobs.put_nowait, (work, done))
        return done

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._jobs.put_nowait, None)

    # -- steps -------------------------------------------------------------------------------------

    async def do(self, step: Step) -> None:
        """One step."""
        self.world.leftovers[:] = [  # what failed earlier is collected here
            left for left in self.world.leftovers if left[0] is self
        ]
        if step.what in SAYS:
            await getattr(self, f"_{step.across}")(step)
        elif step.what in SETS:
            getattr(self, f"_set_{step.what}")()
        elif step.what in BLOCKS:
            self._enter(step.what)
        elif step.what == "leave" and self._blocks:
            self._leave()
        elif step.what == "close":
            self._close()
        elif step.what == "init_again":
            self.world.init_again()

    async def end(self) -> None:
        """Leave everything; close what is open."""
        while self._blocks:
            self._leave()
        self._close()
        self._stack.close()

    async def after(self) -> None:
        """Let the tasks that outlived it go on, and end what it has left by ``break``."""
        for loop, event in self.world.go:
            if loop is self.loop:
                event.set()
        if self._late:
            await asyncio.wait(self._late)
        for generator in self._kept:
            await generator.aclose()
        self.world.leftovers[:] = [left for left in self.world.leftovers if left[0] is self]

    def _close(self) -> None:
        if not self.closed:
            isolated = next((b for b in self._blocks if b.kind == "in_isolation"), None)
            self.closed, self.final = True, isolated.outside if isolated else self.state
        self.conversation.close()

    # -- what it says ------------------------------------------------------------------------------

    def _say(self, step: Step, name: str) -> None:
        by = _BY[step.by]
        match step.what:
            case "ours":
                with telemetry.span("work", name):
                    pass
            case "plain":
                with plain("work", name):
                    pass
            case "capture":
                sentry_sdk.capture_exception(ValueError(name))
            case "capture_ours":
                self.conversation.capture_exception(ValueError(name))
            case "message":
                sentry_sdk.capture_message(name, level="error")
            case "error":
                by.error(name)
            case "info":
                by.info(name)
            case "exception":
                try:
                    int("of a log")
                except ValueError:
                    by.exception(name)
            case "warn":
                warnings.warn(name, stacklevel=1)

    def _made(self, step: Step, *, kind: str | None = None) -> str:
        """Note down what must arrive, and return its name."""
        name = self.world.named(self)
        if kind is None:
            kind = {"ours": "span", "plain": "span", "info": "log", "warn": "log"}.get(
                step.what, "error"
            )
        here = self._state(self.state, self._local)
        states: tuple[State, ...] | None = (here,)
        if step.across in CARRIED or step.what == "capture_ours":
            base = next((b for b in self._blocks if b.kind == "in_isolation"), None)
            states = (
                here,
                self._state(self.state),
                self._state(base.outside if base else self.state),
            )
        inside = {block.kind for block in self._blocks}
        if step.across in LEFT or self.closed or "in_transaction" in inside:
            states = None
        if not self._is_nobodys(step):
            is_sentrys = kind == "span" and "in_transaction" in {*inside, step.what}
            self.world.made[name] = Made(kind, self, states, is_sentrys=is_sentrys)
        return name

    def _is_nobodys(self, step: Step) -> bool:
        """After the end nothing is current for Sentry: spans of its own, and what is said in them,
        are then no conversation's."""
        sentrys = {"in_plain", "in_transaction"}
        inside = {block.kind for block in self._blocks}
        if not streaming() and step.across == "plain_generator" and "in_transaction" in inside:
            return True  # Sentry drops those that are open when a transaction of its own ends
        return self.closed and (
            step.what in ("plain", "in_transaction")
            or step.across == "plain_generator"
            or any(block.after_the_end and block.kind in sentrys for block in self._blocks)
        )

    def _state(self, state: State, local: tuple[tuple[str, str], ...] = ()) -> State:
        """What is set now, as it must arrive."""
        for key, value in local:
            state = state.tagged(key, value)
        return state if state.context is None else replace(state, context=self._said["number"])

    async def _here(self, step: Step) -> None:
        await asyncio.sleep(0)
        self._say(step, self._made(step))

    async def _create_task(self, step: Step) -> None:
        name = self._made(step)

        async def work() -> None:
            await asyncio.sleep(0)
            self._say(step, name)

        await asyncio.create_task(work())

    async def _to_thread(self, step: Step) -> None:
        await asyncio.to_thread(self._say, step, self._made(step))

    async def _thread(self, step: Step) -> None:
        work = partial(telemetry.bind(self._say), step, self._made(step))
        thread = threading.Thread(target=work)
        thread.start()
        await asyncio.to_thread(thread.join)

    async def _executor(self, step: Step) -> None:
        work = partial(telemetry.bind(self._say), step, self._made(step))
        await self.loop.run_in_executor(self.world.pool, work)

    async def _foreign(self, step: Step) -> None:
        name = self._made(step)

        def work() -> None:
            with self.conversation.attach():
                self._say(step, name)

        await self.loop.run_in_executor(self.world.pool, work)

    async def _callback(self, step: Step) -> None:
        """Called by the other one, as an event emitter does."""
        work = partial(telemetry.bind(self._say), step, self._made(step))
        if self.other.loop is self.loop:
            context = self.other.context.copy()
            done = self.loop.create_future()
            self.loop.call_soon(lambda: done.set_result(work()), context=context)
            await done
        else:
            called: Future[None] = Future()
            self.other.loop.call_soon_threadsafe(
                lambda: called.set_result(work()), context=self.other.context.copy()
            )
            await asyncio.wrap_future(called)

    async def _call_soon(self, step: Step) -> None:
        done, name = self.loop.create_future(), self._made(step)

        def work() -> None:
            self._say(step, name)
            done.set_result(None)

        self.loop.call_soon(work)
        await done

    async def _generator(self, step: Step) -> None:
        await self._break(step, telemetry.span)

    async def _plain_generator(self, step: Step) -> None:
        await self._break(step, plain)

    async def _break(self, step: Step, block: Callable[[str, str], Any]) -> None:
        around, name = self._made(step, kind="span"), self._made(step)

        async def produce() -> AsyncGenerator[None, None]:
            with block("work", around):
                self._say(step, name)
                yield
                yield

        generator = produce()
        self._kept.append(generator)
        async for _ in generator:
            break

    async def _outlives(self, step: Step) -> None:
        """A task that waits until its conversation, and the other, are over."""
        event, name = asyncio.Event(), self._made(step)
        self.world.go.append((self.loop, event))

        async def work() -> None:
            await event.wait()
            self._say(step, name)

        self._late.append(asyncio.create_task(work()))

    async def _unretrieved(self, step: Step) -> None:
        name = self._made(step, kind="error")

        async def fail() -> None:
            raise LookupError(name)

        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.world.leftovers.append((self, task))

    # -- what it sets ------------------------------------------------------------------------------

    def _set_tag(self) -> None:
        key = f"{self.who}-{len(self.state.tags)}"
        sentry_sdk.set_tag(key, self.who)
        self.state = self.state.tagged(key, self.who)

    def _set_user(self) -> None:
        user = f"{self.who}-{next(self.world.numbers)}"
        sentry_sdk.set_user({"id": user})
        self.state = replace(self.state, user=user)

    def _set_context(self) -> None:
        self._said["number"] = next(self.world.numbers)
        sentry_sdk.set_context("call", self._said)
        self.state = replace(self.state, context=0)

    # -- blocks ------------------------------------------------------------------------------------

    def _enter(self, kind: str) -> None:
        outside, local = self.state, self._local
        manager: AbstractContextManager[Any]
        match kind:
            case "in_ours" | "in_plain":
                name = self._made(Step(what="ours" if kind == "in_ours" else "plain"))
                manager = (telemetry.span if kind == "in_ours" else plain)("work", name)
                manager.__enter__()
            case "in_isolation":
                manager = sentry_sdk.isolation_scope()
                manager.__enter__()
                self._set_tag()
            case "in_scope":
                manager = sentry_sdk.new_scope()
                key = f"{self.who}-local-{len(self._blocks)}"
                manager.__enter__().set_tag(key, self.who)
                self._local = (*self._local, (key, self.who))
            case _:
                # it may end after its conversation has, where that is current no longer
                name = self._made(Step(what=kind, across="outlives"), kind="span")
                manager = foreign_transaction("task", name)
                manager.__enter__()
                self.traces.add(_sentrys_trace_id())
        self._blocks.append(Block(kind, manager, outside, local, self.closed))

    def _leave(self) -> None:
        block = self._blocks.pop()
        block.manager.__exit__(None, None, None)
        self._local = block.local
        if block.kind == "in_isolation":
            self.state = block.outside


def _sentrys_trace_id() -> str:
    span = sentry_sdk.traces.get_current_span() if streaming() else sentry_sdk.get_current_span()
    assert span is not None
    return span.trace_id
