"""A simulation: calls held side by side, then every call's trace read back and judged."""

from __future__ import annotations

import itertools
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import anyio
import numpy as np

from agent.simulator.caller import Caller, Connect
from agent.simulator.check_history import check_history
from agent.simulator.check_reservations import check_reservations
from agent.simulator.check_trace import Account, check_trace
from agent.simulator.record_tree import shape_of
from agent.simulator.report import AGREEMENT_MS, CallResult, Progress, Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from anyio.abc import TaskGroup
    from livekit.agents import AgentSession

    from agent.simulator.impairment import Conditions
    from agent.simulator.scenario import Scenario
    from telemetry.records import ConversationRecord

    ReadTrace = Callable[[str], Awaitable[ConversationRecord | None]]
    ReadHistory = Callable[[str], AgentSession[Any] | None]
    ReadReservations = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]

ENDING_SECONDS: Final = 0.1
"""Time before a call is over in which a speech that is cut is cut by that end."""
_LOOK_EVERY_SECONDS: Final = 0.1
"""Time between looks at the store; another thread, or process, writes it and can't tell us."""


@dataclass(frozen=True, slots=True)
class Load:
    """The callers: their number, and the times at which they call."""

    callers: int
    """Number of calls side by side."""
    ramp: float = 0.0
    """Seconds over which they begin, at times that the seed chooses."""
    hold: float = 0.0
    """Seconds in which a new call begins whenever one has ended; the last ones are held out."""
    repeat: int = 1
    """Number of runs of all that, one after the other, each with a seed one higher."""
    at_once: int | None = None
    """Number of calls that go on at a time, at most; one too many waits. None: no limit."""
    seed: int = 0
    """Origin of every random choice: the times callers begin at, and the line's effects."""


def _unwatched(_: Progress) -> None:
    pass


def _elsewhere(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Callers of an agent, and the things they hold it to.

    Attributes:
        scenarios: dealt to the callers in turn.
        connect: calls the agent, over whatever transport.
        read_trace: the record of the conversation with this id; None while there is none.
        read_history: the agent's session of that conversation, asked once; None where it is in
            another process.
        read_reservations: all reservations there are; None when nobody knows.
        stats: telemetry's counts, by the names of ``telemetry.Stats``; read once, at the end.
        line: every caller's line, instead of its scenario's.
        agreement_ms: difference allowed between telemetry and the callers on latency (p95).
        patience: seconds a caller waits for a reply before it gives up.
        delivery: seconds to wait for a call's trace.
        stop: set it (on Ctrl-C, say) and the callers hang up; the report is of the calls so far.
        on_progress: told of each event, on the event loop.
    """

    scenarios: Sequence[Scenario]
    connect: Connect
    read_trace: ReadTrace
    read_history: ReadHistory = _elsewhere
    read_reservations: ReadReservations | None = None
    stats: Callable[[], Mapping[str, Any]]
    line: Conditions | None = None
    agreement_ms: float = AGREEMENT_MS
    patience: float = 15.0
    delivery: float = 10.0
    stop: anyio.Event = field(default_factory=anyio.Event)
    on_progress: Callable[[Progress], None] = _unwatched

    async def run(self, load: Load) -> Report:
        """Hold conversations and judge them.

        A caller that fails is a failed conversation, never the end of the run.
        """
        results: list[CallResult] = []
        interrupted = False
        for seed in range(load.seed, load.seed + load.repeat):
            if self.stop.is_set():
                break
            run = _Run(self, replace(load, seed=seed))
            results += await run.hold()
            interrupted = interrupted or run.interrupted
        return Report(
            calls=tuple(results),
            stats=dict(self.stats()),
            interrupted=interrupted or self.stop.is_set(),
            seed=load.seed,
            agreement_ms=self.agreement_ms,
        )


class _Run:
    """One run: its callers, and the results of their calls."""

    def __init__(self, simulation: Simulation, load: Load) -> None:
        self.interrupted = False
        self._of = simulation
        self._load = load
        self._calling: set[Caller] = set()
        self._numbers = itertools.count()
        self._seats = anyio.CapacityLimiter(load.at_once or load.callers)
        self._results: dict[int, CallResult] = {}

    async def hold(self) -> list[CallResult]:
        """Let everybody call, and judge each call while others go on; in the order they began."""
        until = anyio.current_time() + self._load.hold
        async with anyio.create_task_group() as watch:
            watch.start_soon(self._hang_up_when_stopped)
            async with anyio.create_task_group() as judges, anyio.create_task_group() as calls:
                for offset in self._offsets():
                    calls.start_soon(self._keep_calling, offset, until, judges)
            watch.cancel_scope.cancel()
        return [self._results[number] for number in sorted(self._results)]

    def _offsets(self) -> list[float]:
        """Times at which callers first call, in seconds; the first one at once."""
        chance = np.random.default_rng(self._load.seed)
        later = chance.uniform(0.0, self._load.ramp, self._load.callers - 1)
        return [0.0, *sorted(map(float, later))]

    async def _hang_up_when_stopped(self) -> None:
        await self._of.stop.wait()
        self.interrupted = True
        for caller in self._calling:
            caller.hang_up()

    async def _keep_calling(self, offset: float, until: float, judges: TaskGroup) -> None:
        """Call once, and again for as long as the load is to be held."""
        with anyio.move_on_after(offset):
            await self._of.stop.wait()
        called = False
        while True:
            async with self._seats:
                # looked at once it has its seat: either may have come while it waited
                if self._of.stop.is_set() or (called and anyio.current_time() >= until):
                    return
                await self._call(judges)
            called = True

    async def _call(self, judges: TaskGroup) -> None:
        number = next(self._numbers)
        caller = self._caller(number)
        self._calling.add(caller)
        began = time.time()
        result = await caller.call()
        self._calling.remove(caller)
        self._results[number] = replace(result, started_at=began, ended_at=time.time())
        judges.start_soon(self._judge, number, caller)

    def _caller(self, number: int) -> Caller:
        scenario = self._of.scenarios[number % len(self._of.scenarios)]
        return Caller(
            scenario,
            # not of the seed: two runs with one seed are two sets of conversations
            conversation=f"{scenario.name}-{number + 1}-{secrets.token_hex(4)}",
            connect=self._of.connect,
            line=scenario.line.conditions if self._of.line is None else self._of.line,
            seed=self._load.seed,
            chance=np.random.default_rng([self._load.seed, number]),
            patience=self._of.patience,
            on_progress=self._of.on_progress,
        )

    async def _judge(self, number: int, caller: Caller) -> None:
        result = self._results[number]
        if result.trace_id is None:
            return
        record = await self._delivered(result.id)
        if record is None:
            self._results[number] = replace(result, trace_failures=("its trace did not arrive",))
            return
        result = _judged(result, caller, record)
        if (session := self._of.read_history(result.id)) is not None:
            wrong = check_history(record, session)
            result = replace(result, trace_failures=(*result.trace_failures, *wrong))
        wanted, read = caller.scenario.reservations, self._of.read_reservations
        if wanted is not None and not caller.stopped:
            book = None if read is None else await read()
            missing = check_reservations(wanted, book, record)
            result = replace(result, failures=(*result.failures, *missing))
        self._results[number] = result

    async def _delivered(self, conversation: str) -> ConversationRecord | None:
        """The record of a conversation, once it is complete; None if that takes too long."""
        with anyio.move_on_after(self._of.delivery):
            while True:
                record = await self._of.read_trace(conversation)
                if record is not None and record.ended_at is not None:
                    return record
                await anyio.sleep(_LOOK_EVERY_SECONDS)
        return None


def _judged(result: CallResult, caller: Caller, record: ConversationRecord) -> CallResult:
    """A call's result with the verdict on its trace, and telemetry's latencies beside its own."""
    measured = [turn.measured_ms for turn in result.turns]
    account = Account(
        origin=caller.origin,
        expected=[turn.expect for turn in caller.scenario.turns],
        voiced=[None if turn.measured_ms is None else turn.voiced_until for turn in result.turns],
        measured=[None if ms is None else ms / 1000 for ms in measured],
        swallowed=[turn.swallowed_ms / 1000 for turn in result.turns],
        answered=any(turn.reply and turn.kind in {"spoken", "typed"} for turn in result.turns),
        speeches=caller.speeches,
        until=caller.over_at - ENDING_SECONDS,
        stopped=caller.stopped,
    )
    verdict = check_trace(record, account)
    wrong = list(verdict.failures)
    if record.trace_id != result.trace_id:
        wrong.append(f"it is trace {record.trace_id}, the caller was told {result.trace_id}")
    return replace(
        result,
        shape=shape_of(record),
        trace_failures=tuple(wrong),
        turns=tuple(
            turn
            if response is None
            else replace(
                turn,
                e2e_ms=1000 * response.latency,
                stages_ms={stage: 1000 * took for stage, took in response.stages.items()},
            )
            for turn, response in zip(result.turns, verdict.responses, strict=True)
        ),
    )
