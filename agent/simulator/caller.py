"""A caller: holds one scripted conversation, over any transport, and notes what happens."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from agent.gateway import Disconnected, GatewayError
from agent.session.line import Outcome
from agent.simulator.caller_trace import CallerTrace, Origin
from agent.simulator.check_turns import check_turns
from agent.simulator.hearing import Hearing, Round
from agent.simulator.impairment import NOMINAL_LEVEL_RMS, Impairment, active_level
from agent.simulator.interruption import both_heard
from agent.simulator.microphone import Microphone
from agent.simulator.report import CallResult, Progress
from agent.simulator.scenario import HangUpTurn, SilentTurn, SpokenTurn, TypedTurn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    import numpy as np

    from agent.gateway import GatewayMessage, Start
    from agent.simulator.hearing import AgentSpeech
    from agent.simulator.impairment import Conditions
    from agent.simulator.scenario import Scenario, Turn

LONGEST_REPLY_SECONDS: Final = 60.0
"""Time after which an agent that is still speaking, or thinking, has failed."""
LAST_GAP_SECONDS: Final = 0.2
"""Quiet after the last reply before the caller hangs up."""
WORDS_PATIENCE_SECONDS: Final = 1.0
"""Time to wait for the words of a reply that has been heard."""
NO_REPLY_SECONDS: Final = 3.0
"""Time after which a turn that mustn't be answered hasn't been."""


class Call(Protocol):
    """A call in progress: :class:`agent.gateway.client.Call`, or a room's."""

    @property
    def trace_id(self) -> str:
        """The id of the conversation's trace."""

    @property
    def ahead_seconds(self) -> float:
        """Length of the agent's audio that comes before it is to be played, at most."""

    async def send_audio(self, frame: bytes) -> None:
        """Send 20 ms of mono PCM16."""

    async def send_text(self, text: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a typed turn, with the trace headers of the span it is to be a child of."""

    async def send_gap(self, seconds: float) -> None:
        """Tell how long the caller has waited for an answer, by its own ears."""

    async def end(self) -> None:
        """Hang up politely; ``ended`` comes back."""

    def __aiter__(self) -> AsyncIterator[GatewayMessage]:
        """Messages and frames, in the order they come."""


class Connect(Protocol):
    """A way to call the agent: a transport, as a caller sees it."""

    def __call__(self, *, start: Start) -> AbstractAsyncContextManager[Call]:
        """Call the agent; the call has started inside the block, and leaving it hangs up."""


class Caller:
    """One caller and one call.

    Args:
        scenario: its script and its expectations.
        conversation: the id it gives its conversation.
        connect: calls the agent.
        line: the conditions of its line to the agent.
        seed: of the run it is part of; goes into the result.
        chance: source of the random choices: the line's, and how long pauses within a turn are.
        patience: seconds it waits for a reply to begin, and for the call to end, before it gives
            up: that has then failed, and it hangs up.
        on_progress: told of each event.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        conversation: str,
        connect: Connect,
        line: Conditions,
        seed: int,
        chance: np.random.Generator,
        patience: float,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.scenario = scenario
        self.conversation = conversation
        self.stopped = False
        """True when it was told to hang up before it had said everything."""
        self.over_at = float("inf")
        """The Unix time at which the call's end began: somebody hung up, or the line was lost."""
        self._connect = connect
        self._conditions = line
        self._seed = seed
        self._chance = chance
        self._patience = patience
        self._on_progress = on_progress
        self._script = anyio.CancelScope()
        self._microphone: Microphone | None = None
        self._hearing = Hearing()
        self._greeting = self._hearing.current
        self._rounds: list[Round] = []
        self._trace = CallerTrace(scenario.name)
        self._trace_id: str | None = None
        self._failures: list[str] = []

    async def call(self) -> CallResult:
        """Hold the conversation; returns its result, without a verdict on its trace.

        An error is a failure of this call, never raised.
        """
        with self._trace:
            await self._hold()
            result = self._result()
            self._trace.tell(result)
        return result

    async def _hold(self) -> None:
        self._tell("calling")
        start = self.scenario.start.message(self.conversation, self._trace.headers)
        try:
            async with self._connect(start=start) as call:
                self._trace_id = call.trace_id
                self._hearing.ahead_seconds = call.ahead_seconds
                microphone = self._microphone = self._pick_up(call)
                try:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._speak, microphone)
                        tasks.start_soon(self._converse, call, microphone, tasks.cancel_scope)
                        await self._listen(call)
                        tasks.cancel_scope.cancel()
                finally:
                    self.over_at = min(self.over_at, time.time())
        except Exception as error:  # noqa: BLE001 - one failed caller must not end the others
            self._failures += _explain(error)
        self._tell(f"ended: {self._hearing.outcome or 'lost'}")

    def hang_up(self) -> None:
        """Say nothing more and end the call; the rest of the script is left unsaid."""
        if self._hearing.outcome is None:
            self.stopped = True
        self._script.cancel()

    @property
    def speeches(self) -> Sequence[AgentSpeech]:
        """The speeches heard from the agent, in order."""
        return self._hearing.speeches

    @property
    def origin(self) -> Origin:
        """The place in the trace where the conversation has to be."""
        return self._trace.origin

    def _result(self) -> CallResult:
        failures = [*self._greeting.failures, *self._failures, *self._wrong_outcome()]
        return CallResult(
            id=self.conversation,
            scenario=self.scenario.name,
            trace_id=self._trace_id,
            outcome=self._hearing.outcome,
            seed=self._seed,
            line=str(self._conditions),
            talk_over_ms=1000 * both_heard(self._hearing.caller, self._hearing.speeches),
            late_ms=0.0 if self._microphone is None else 1000 * self._microphone.late,
            turns=check_turns(
                self.scenario.turns, self._rounds, self._hearing.speeches, stopped=self.stopped
            ),
            failures=("stopped before it had ended",) if self.stopped else tuple(failures),
            stopped=self.stopped,
        )

    # -- during the call ---------------------------------------------------------------------------

    def _pick_up(self, call: Call) -> Microphone:
        level = active_level(self.scenario.speech) or NOMINAL_LEVEL_RMS
        line = Impairment(self._conditions, self._chance, level=level)
        hearing = self._hearing
        return Microphone(
            call.send_audio, hearing.voiced, lambda frame: line.outgoing(frame, hearing.echo())
        )

    async def _listen(self, call: Call) -> None:
        async for message in call:
            self._hearing.take(message)
            if self._hearing.outcome is not None:
                return
            if (gap := self._hearing.new_gap()) is not None:
                with suppress(Disconnected):  # what comes next says so, too
                    await call.send_gap(gap)

    async def _speak(self, microphone: Microphone) -> None:
        with suppress(Disconnected):  # whoever listens is told why
            await microphone.run()

    async def _converse(self, call: Call, microphone: Microphone, tasks: anyio.CancelScope) -> None:
        """Follow the script, then end the call; cancelled when the call is over before that."""
        with suppress(Disconnected):
            followed = False
            with self._script:
                followed = await self._follow_script(call, microphone)
            if followed and self.scenario.outcome not in {None, Outcome.HUNG_UP}:
                await anyio.sleep(self._patience)
                self._failures.append(f"the agent did not end the call in {self._patience:g} s")
            self.over_at = time.time()
            await call.end()
            await anyio.sleep(self._patience)
            self._failures.append(f"the call did not end in {self._patience:g} s")
            tasks.cancel()

    async def _follow_script(self, call: Call, microphone: Microphone) -> bool:
        """Do every turn when it is time to; False when the caller gave up."""
        before: Turn | None = None
        for number, turn in enumerate(self.scenario.turns, 1):
            if not await self._come_in(turn, before):
                return False
            before = turn
            self._rounds.append(self._hearing.begin())
            headers = self._trace.begin(turn.kind)
            self._tell(turn.doing, turn=number)
            match turn:
                case TypedTurn():
                    self._hearing.typed()
                    await call.send_text(turn.text, headers)
                case SilentTurn():
                    await anyio.sleep(turn.silence / 1000)
                case SpokenTurn():
                    sentence = turn.say.varied(self._chance)
                    self._hearing.current.pauses_ms = sentence.pauses_ms
                    with anyio.move_on_after(sentence.seconds + self._patience) as limit:
                        await microphone.say(sentence.speech)
                        self._hearing.current.is_said = True
                    if limit.cancelled_caught:
                        return self._give_up("the gateway does not take the caller's audio")
                case HangUpTurn():
                    return True
        return await self._hear_out(before, LAST_GAP_SECONDS)

    async def _come_in(self, turn: Turn, before: Turn | None) -> bool:
        """Wait until it is time for a turn; False when the caller gave up."""
        if turn.barge_in_ms is not None:
            with anyio.move_on_after(self._patience) as limit:
                since = await self._hearing.audible()
            if limit.cancelled_caught:
                return self._give_up(f"no speech to cut into in {self._patience:g} s")
            await anyio.sleep(max(0.0, since + turn.barge_in_ms / 1000 - time.time()))
            return True
        if turn.wait_for == "nothing":
            await anyio.sleep(turn.pause_ms / 1000)
            return True
        return await self._hear_out(before, turn.pause_ms / 1000)

    async def _hear_out(self, turn: Turn | None, gap: float) -> bool:
        """Wait for the reply to a turn and until it is over; False when the caller gave up.

        Without a turn it is the greeting that is waited for.
        """
        hearing = self._hearing
        if turn is None or turn.wants_answer:
            with anyio.move_on_after(self._patience) as limit:
                await hearing.answer()
            if limit.cancelled_caught:
                what = "greeting" if turn is None else "reply"
                return self._give_up(f"no {what} in {self._patience:g} s")
        elif isinstance(turn, SpokenTurn | TypedTurn):
            with anyio.move_on_after(NO_REPLY_SECONDS):
                await hearing.answer()
        with anyio.move_on_after(LONGEST_REPLY_SECONDS) as limit:
            await hearing.quiet(gap)
        if limit.cancelled_caught:
            return self._give_up(f"the agent went on for more than {LONGEST_REPLY_SECONDS:g} s")
        with anyio.move_on_after(WORDS_PATIENCE_SECONDS):
            await hearing.words()
        return True

    def _give_up(self, why: str) -> bool:
        self._hearing.current.failures.append(why)
        return False

    def _tell(self, what: str, *, turn: int | None = None) -> None:
        self._on_progress(
            Progress(
                conversation=self.conversation,
                scenario=self.scenario.name,
                turn=turn if turn is not None else len(self._rounds),
                turns=len(self.scenario.turns),
                what=what,
            )
        )

    # -- after it ----------------------------------------------------------------------------------

    def _wrong_outcome(self) -> Iterator[str]:
        outcome = self._hearing.outcome
        if outcome is None:
            if not self._failures:
                yield "the call did not end"
            return
        match self.scenario.outcome:
            case None if self.scenario.hangs_up:
                allowed = {Outcome.HUNG_UP}
            case None:
                allowed = {Outcome.COMPLETED, Outcome.HUNG_UP}
            case wanted:
                allowed = {wanted}
        if outcome not in allowed:
            yield f"the call ended as {outcome}, not {' or '.join(sorted(allowed))}"


def _explain(error: Exception) -> list[str]:
    """The errors, one line of text for each."""
    match error:
        case ExceptionGroup():
            return [text for each in error.exceptions for text in _explain(each)]
        case GatewayError():
            return [str(error)]
        case _:
            return [f"{type(error).__name__}: {error}"]
