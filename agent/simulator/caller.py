"""A caller: holds one scripted conversation over the gateway's protocol, and notes what happens."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from agent.gateway import Disconnected, GatewayError, connect
from agent.session.line import Outcome
from agent.simulator.hearing import Hearing, Round
from agent.simulator.microphone import Microphone
from agent.simulator.report import CallResult, Progress, TurnResult
from agent.simulator.scenario import SpokenTurn, TypedTurn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.gateway import Call
    from agent.simulator.scenario import Scenario, Turn

LONGEST_REPLY: Final = 60.0
"""Seconds after which an agent that is still speaking, or thinking, has failed."""
LAST_GAP: Final = 0.2
"""Seconds of quiet after the last reply before the caller hangs up."""
WORDS_PATIENCE: Final = 1.0
"""Seconds to wait for the words of a reply that has been heard."""


class Caller:
    """One caller and one call.

    Args:
        scenario: what it says and expects.
        conversation: the id it gives its conversation.
        url: where the gateway is, ``ws://…``.
        token: what the gateway asks for, if it does.
        patience: seconds it waits for a reply to begin, and for the call to end, before it gives
            up: that has then failed, and it hangs up.
        on_progress: told what happens.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        conversation: str,
        url: str,
        token: str | None,
        patience: float,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.scenario = scenario
        self.conversation = conversation
        self._url = url
        self._token = token
        self._patience = patience
        self._on_progress = on_progress
        self._script = anyio.CancelScope()
        self._hearing = Hearing()
        self._greeting = self._hearing.current
        self._rounds: list[Round] = []
        self._trace_id: str | None = None
        self._failures: list[str] = []

    async def call(self) -> None:
        """Hold the conversation. What goes wrong is a failure of this call, never raised."""
        self._tell("calling")
        start = self.scenario.start.message(self.conversation)
        try:
            async with connect(self._url, start=start, token=self._token) as call:
                self._trace_id = call.trace_id
                microphone = Microphone(call.send_audio, self._hearing.voiced)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._speak, microphone)
                    tasks.start_soon(self._converse, call, microphone, tasks.cancel_scope)
                    await self._listen(call)
                    tasks.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 - one failed caller must not end the others
            self._failures += _explain(error)
        self._tell(f"ended: {self._hearing.outcome or 'lost'}")

    def hang_up(self) -> None:
        """Say nothing more and end the call; what was still to be said has failed."""
        self._script.cancel()

    def result(self) -> CallResult:
        """What came of the call; its trace is not judged yet."""
        rounds = [*self._rounds, *[None] * (len(self.scenario.turns) - len(self._rounds))]
        last = self._rounds[-1] if self._rounds else self._greeting
        return CallResult(
            id=self.conversation,
            scenario=self.scenario.name,
            trace_id=self._trace_id,
            outcome=self._hearing.outcome,
            turns=tuple(
                _result(turn, this, last=this is last)
                for turn, this in zip(self.scenario.turns, rounds, strict=True)
            ),
            failures=(*self._greeting.failures, *self._failures, *self._wrong_outcome()),
        )

    # -- during the call ---------------------------------------------------------------------------

    async def _listen(self, call: Call) -> None:
        async for message in call:
            self._hearing.take(message)
            if self._hearing.outcome is not None:
                return

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
            await call.end()
            await anyio.sleep(self._patience)
            self._failures.append(f"the call did not end in {self._patience:g} s")
            tasks.cancel()

    async def _follow_script(self, call: Call, microphone: Microphone) -> bool:
        """Say every turn when it is time to; False when the caller gave up."""
        for number, turn in enumerate(self.scenario.turns, 1):
            if turn.wait_for == "nothing":
                await anyio.sleep(turn.pause_ms / 1000)
            elif not await self._hear_out(turn.pause_ms / 1000):
                return False
            self._tell(turn.words, turn=number)
            self._rounds.append(self._hearing.begin())
            match turn:
                case TypedTurn():
                    await call.send_text(turn.text)
                case SpokenTurn():
                    with anyio.move_on_after(turn.say.seconds + self._patience) as limit:
                        await microphone.say(turn.say)
                    if limit.cancelled_caught:
                        return self._give_up("the gateway does not take the caller's audio")
        return await self._hear_out(LAST_GAP)

    async def _hear_out(self, gap: float) -> bool:
        """Wait for a reply and until it is over; False when the caller gave up."""
        hearing = self._hearing
        with anyio.move_on_after(self._patience) as limit:
            await hearing.answer()
        if limit.cancelled_caught:
            what = "reply" if self._rounds else "greeting"
            return self._give_up(f"no {what} in {self._patience:g} s")
        with anyio.move_on_after(LONGEST_REPLY) as limit:
            await hearing.quiet(gap)
        if limit.cancelled_caught:
            return self._give_up(f"the agent went on for more than {LONGEST_REPLY:g} s")
        with anyio.move_on_after(WORDS_PATIENCE):
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
        wanted = self.scenario.outcome
        allowed = {Outcome.COMPLETED, Outcome.HUNG_UP} if wanted is None else {wanted}
        if outcome not in allowed:
            yield f"the call ended as {outcome}, not {' or '.join(sorted(allowed))}"


def _result(turn: Turn, this: Round | None, *, last: bool) -> TurnResult:
    """A turn held against what was expected of it. ``last``: nothing was said after it."""
    spoken = isinstance(turn, SpokenTurn)
    if this is None:
        return TurnResult(turn.words, spoken, failures=("not reached: the call was over",))
    measured = this.measured
    return TurnResult(
        caller=turn.words,
        spoken=spoken,
        heard=" ".join(this.heard),
        reply=" ".join(this.reply),
        voiced_until=this.voiced_until,
        measured_ms=None if measured is None else 1000 * measured,
        failures=(*this.failures, *_unmet(turn, this, last=last)),
    )


def _unmet(turn: Turn, this: Round, *, last: bool) -> Iterator[str]:
    """The expectations of a turn that were not met."""
    if last and not this.answered and not this.failures:
        yield "the call ended without a reply"
    expect, reply, measured = turn.expect, " ".join(this.reply), this.measured
    if expect.reply is not None and not expect.reply.search(reply):
        yield f"the reply {reply!r} does not match {expect.reply.pattern!r}"
    if expect.tool is not None:
        calls = [(tool.name, tool.arguments) for tool in this.tools if tool.ok]
        if not any(expect.called(*call) for call in calls):
            made = ", ".join(f"{name} {arguments}" for name, arguments in calls) or "none"
            yield f"tool {expect.tool} {dict(expect.arguments)} was not called (calls: {made})"
    if expect.within_ms is not None:
        if measured is None:
            yield f"no audible reply, expected within {expect.within_ms} ms"
        elif 1000 * measured > expect.within_ms:
            yield f"replied after {1000 * measured:.0f} ms, expected within {expect.within_ms} ms"


def _explain(error: Exception) -> list[str]:
    """One line for each thing that went wrong."""
    match error:
        case ExceptionGroup():
            return [line for each in error.exceptions for line in _explain(each)]
        case GatewayError():
            return [str(error)]
        case _:
            return [f"{type(error).__name__}: {error}"]
