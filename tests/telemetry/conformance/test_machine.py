"""Everything at random: opens, nests, crosses, cancels and closes, against a model of the tree.

After every step each place is asked what is current, by us and by Sentry; at the end every trace
must be what the model wrote down, span for span, parent for parent, tag for tag.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import sentry_sdk
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sentry_sdk import traces as streamed

import telemetry
from telemetry.testing import capture

from .places import Block, Place, Talk, Task, Thread
from .whole import assert_current, assert_faultless, assert_nothing_current, plain, traces

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from .whole import Lifecycle

T = TypeVar("T")
pick = st.integers(0, 99)
"""Which of those there are: taken modulo their number."""


def _of(things: Sequence[T], picked: int) -> T:
    return things[picked % len(things)]


class _Conversations(RuleBasedStateMachine):
    def __init__(self, lifecycle: Lifecycle) -> None:
        super().__init__()
        self.lifecycle = lifecycle
        self._stack = ExitStack()
        self.captured = self._stack.enter_context(capture(lifecycle=lifecycle))
        self.loop = asyncio.new_event_loop()
        self.tasks: list[Task] = [Task(self.loop)]
        self.threads: list[Thread] = [Thread()]
        self.talks: list[Talk] = []
        self.handles: list[tuple[Talk, telemetry.Span]] = []
        self.bound: list[tuple[Talk, str, Callable[[], telemetry.Span]]] = []
        self.streamed: list[tuple[Block, streamed.StreamedSpan]] = []
        self.generators: list[tuple[Block, AsyncGenerator[telemetry.Span, None]]] = []
        self.late = self.left_open = 0
        self.names = count()

    @property
    def places(self) -> list[Place]:
        return [*self.tasks, *self.threads]

    @property
    def inside(self) -> list[Place]:
        """Places in which a conversation is current."""
        return [place for place in self.places if place.current is not None]

    # -- the model's side of it --------------------------------------------------------------------

    def _begun(self, talk: Talk, span: telemetry.Span, parent: str) -> telemetry.Span:
        talk.parents[span.id] = parent
        if talk.ended:
            self.late += 1
        else:
            talk.open.add(span.id)
        return span

    def _ended(self, talk: Talk) -> None:
        if not talk.ended:
            talk.ended = True
            self.left_open += len(talk.open)
            talk.open.clear()

    def _left(self, place: Place, block: Block) -> None:
        place.leave(block)
        block.talk.open.discard(block.span.id)
        if block.manager is block.talk.conversation:
            self._ended(block.talk)

    # -- opening and nesting -----------------------------------------------------------------------

    @rule(at=pick, enter=st.booleans())
    def open(self, at: int, *, enter: bool) -> None:
        place, name = _of(self.places, at), f"host {next(self.names)}"
        conversation = place.run(lambda: telemetry.conversation(name))
        talk = Talk(conversation, {conversation.root.id: None})
        self.talks.append(talk)
        if enter:
            place.run(conversation.__enter__)
            place.enter(Block(talk, conversation.root, conversation))

    @precondition(lambda self: self.talks)
    @rule(at=pick, which=pick)
    def attach(self, at: int, which: int) -> None:
        place, talk = _of(self.places, at), _of(self.talks, which)
        manager = talk.conversation.attach()
        place.run(manager.__enter__)
        place.enter(Block(talk, talk.conversation.root, manager, late=talk.ended))

    @rule(at=pick)
    def nest(self, at: int) -> None:
        place, around = _of(self.places, at), _of(self.places, at).nearest
        if around is None:
            with pytest.raises(telemetry.MissingConversation):
                place.run(lambda: telemetry.span("lost"))
            return
        span = place.run(lambda: telemetry.span("block").__enter__())
        self._begun(around.talk, span, around.span.id)
        place.enter(Block(around.talk, span, span, late=around.talk.ended))

    @precondition(lambda self: self.inside)
    @rule(at=pick)
    def nest_plain(self, at: int) -> None:
        place = _of(self.inside, at)
        around, manager = place.current, plain("plain", "plain")
        assert around is not None
        place.run(manager.__enter__)
        span = self._begun(around.talk, place.run(telemetry.current_span), around.span.id)
        place.enter(Block(around.talk, span, manager, late=around.talk.ended))

    @precondition(lambda self: self.inside and self.lifecycle == "stream")
    @rule(at=pick)
    def stream_plain(self, at: int) -> None:
        place = _of(self.inside, at)
        around = place.current
        assert around is not None
        marker = place.run(lambda: streamed.start_span("plain"))
        span = self._begun(around.talk, place.run(telemetry.current_span), around.span.id)
        block = Block(around.talk, span, ExitStack(), late=around.talk.ended)
        place.begin(block)
        self.streamed.append((block, marker))

    @precondition(lambda self: self.streamed)
    @rule(at=pick, which=pick)
    def end_streamed(self, at: int, which: int) -> None:
        block, marker = self.streamed.pop(which % len(self.streamed))
        _of(self.places, at).run(marker.end)
        block.talk.open.discard(block.span.id)
        block.over = True

    @precondition(lambda self: any(place.entered for place in self.places))
    @rule(at=pick, which=pick)
    def leave(self, at: int, which: int) -> None:
        place = _of([place for place in self.places if place.entered], at)
        block = _of(place.entered[::-1], which)
        place.run(lambda: block.manager.__exit__(None, None, None))
        self._left(place, block)

    @precondition(lambda self: self.talks)
    @rule(at=pick, which=pick)
    def close(self, at: int, which: int) -> None:
        talk = _of(self.talks, which)
        _of(self.places, at).run(talk.conversation.close)
        self._ended(talk)

    @precondition(lambda self: self.inside)
    @rule(at=pick)
    def tag(self, at: int) -> None:
        place, name = _of(self.inside, at), f"tag-{next(self.names)}"
        place.run(lambda: sentry_sdk.set_tag(name, "set"))
        assert place.current is not None
        if not place.current.talk.ended:
            place.current.talk.tags[name] = "set"

    # -- crossing ----------------------------------------------------------------------------------

    @rule(at=pick, inherit=st.booleans())
    def spawn_task(self, at: int, *, inherit: bool) -> None:
        place = _of(self.tasks, at)
        self.tasks.append(place.run(lambda: Task(self.loop, place)) if inherit else Task(self.loop))

    @precondition(lambda self: len(self.threads) < 3)
    @rule()
    def spawn_thread(self) -> None:
        self.threads.append(Thread())

    @precondition(lambda self: len(self.tasks) > 1)
    @rule(which=pick)
    def cancel(self, which: int) -> None:
        task = self.tasks.pop(which % len(self.tasks))
        task.stop()
        for block in reversed([*task.entered]):
            self._left(task, block)

    @precondition(lambda self: self.talks)
    @rule(at=pick, which=pick)
    def start_handle(self, at: int, which: int) -> None:
        place, talk = _of(self.places, at), _of(self.talks, which)
        span = place.run(lambda: talk.conversation.start_span("handle"))
        near, parent = place.nearest, talk.conversation.root
        if near is not None and near.talk is talk:
            parent = near.span
        self.handles.append((talk, self._begun(talk, span, parent.id)))

    @precondition(lambda self: self.handles)
    @rule(at=pick, which=pick)
    def finish_handle(self, at: int, which: int) -> None:
        talk, span = _of(self.handles, which)
        _of(self.places, at).run(span.finish)
        talk.open.discard(span.id)

    @precondition(lambda self: self.handles)
    @rule(at=pick, which=pick)
    def start_under_a_handle(self, at: int, which: int) -> None:
        talk, parent = _of(self.handles, which)
        span = _of(self.places, at).run(lambda: parent.start_span("handle"))
        self.handles.append((talk, self._begun(talk, span, parent.id)))

    @rule(at=pick)
    def bind(self, at: int) -> None:
        def work() -> telemetry.Span:
            with telemetry.span("bound") as span:
                assert_current(span)
            assert isinstance(span, telemetry.Span)
            return span

        place, around = _of(self.places, at), _of(self.places, at).nearest
        if around is not None:
            function = place.run(lambda: telemetry.bind(work))
            self.bound.append((around.talk, around.span.id, function))

    @precondition(lambda self: self.bound)
    @rule(at=pick, which=pick)
    def call_bound(self, at: int, which: int) -> None:
        talk, parent, function = _of(self.bound, which)
        span = self._begun(talk, _of(self.places, at).run(function), parent)
        talk.open.discard(span.id)

    # -- async generators --------------------------------------------------------------------------

    @precondition(lambda self: self.inside)
    @rule(at=pick)
    def start_generator(self, at: int) -> None:
        async def produce() -> AsyncGenerator[telemetry.Span, None]:
            with telemetry.span("produce") as block:
                assert isinstance(block, telemetry.Span)
                yield block
                while True:
                    with telemetry.span("made") as made:
                        assert isinstance(made, telemetry.Span)
                    yield made

        place, generator = _of(self.inside, at), produce()
        around = place.current
        assert around is not None
        span = place.run(lambda: _drive(anext(generator)))
        self._begun(around.talk, span, around.span.id)
        block = Block(around.talk, span, span, late=around.talk.ended)
        self.generators.append((block, generator))

    @precondition(lambda self: any(not block.outlived for block, _ in self.generators))
    @rule(at=pick, which=pick)
    def pull_generator(self, at: int, which: int) -> None:
        block, generator = _of([g for g in self.generators if not g[0].outlived], which)
        span = _of(self.places, at).run(lambda: _drive(anext(generator)))
        self._begun(block.talk, span, block.span.id)
        block.talk.open.discard(span.id)

    @precondition(lambda self: self.generators)
    @rule(at=pick, which=pick)
    def close_generator(self, at: int, which: int) -> None:
        block, generator = self.generators.pop(which % len(self.generators))
        _of(self.places, at).run(lambda: _drive(generator.aclose()))
        block.talk.open.discard(block.span.id)

    # -- what must be so ---------------------------------------------------------------------------

    @invariant()
    def everywhere_the_right_one_is_current(self) -> None:
        for place in self.places:
            place.settle()
            current = place.current
            if current is None:
                place.run(assert_nothing_current)
            else:
                place.run(partial(assert_current, current.span))

    def teardown(self) -> None:
        for place in self.places:
            while place.entered:
                block = place.entered[-1]
                place.run(partial(block.manager.__exit__, None, None, None))
                self._left(place, block)
        while self.generators:
            self.close_generator(0, 0)
        while self.streamed:
            self.end_streamed(0, 0)
        for talk, span in self.handles:
            span.finish()
            talk.open.discard(span.id)
        for talk in self.talks:
            talk.conversation.close()
            self._ended(talk)
        for place in self.places:
            place.stop()
        self.loop.close()
        with self._stack:
            self._assert_arrived()

    def _assert_arrived(self) -> None:
        arrived = traces(self.captured)
        tags = {
            event["contexts"]["trace"]["trace_id"]: event.get("tags", {})
            for event in self.captured.conversations
        }
        assert len(arrived) == len(self.talks)
        for talk in self.talks:
            trace_id = talk.conversation.trace_id
            found = {span.span_id: span.parent_span_id for span in arrived[trace_id]}
            assert found == talk.parents
            assert tags[trace_id] == talk.tags
        assert_faultless(self.captured, late_spans=self.late, open_at_finish=self.left_open)


def _drive(awaitable: Awaitable[Any]) -> Any:
    """Run something that awaits nothing, without a loop: threads have none."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def test_whatever_happens_no_span_is_orphaned_mixed_or_lost(lifecycle: Lifecycle) -> None:
    """Random interleavings of all the above, the same in every run."""

    class Conversations(_Conversations):
        def __init__(self) -> None:
            super().__init__(lifecycle)

    run_state_machine_as_test(
        Conversations,
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
        ),
    )
