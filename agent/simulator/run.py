"""A simulation: calls held side by side, then every call's trace read back and judged."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import anyio

from agent.simulator.caller import Caller
from agent.simulator.report import CallResult, Progress, Report
from agent.simulator.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from agent.simulator.scenario import Scenario
    from telemetry.records import ConversationRecord

    ReadTrace = Callable[[str], Awaitable[ConversationRecord | None]]

_LOOK_AGAIN: Final = 0.1
"""Seconds between looks at the store; another thread, or process, writes it and can't tell us."""


def _unwatched(_: Progress) -> None:
    pass


async def simulate(
    scenarios: Sequence[Scenario],
    *,
    callers: int,
    url: str,
    token: str | None = None,
    read_trace: ReadTrace,
    stats: Callable[[], Mapping[str, Any]],
    stagger: float = 0.5,
    patience: float = 15.0,
    delivery: float = 10.0,
    stop: anyio.Event | None = None,
    on_progress: Callable[[Progress], None] = _unwatched,
) -> Report:
    """Hold conversations with the agent at ``url`` and judge them.

    A caller that fails is a failed conversation, never the end of the run.

    Args:
        scenarios: dealt to the callers in turn.
        callers: conversations in all.
        url: the gateway, ``ws://host:port``.
        token: what the gateway asks for, if it does.
        read_trace: the record of the conversation with this id; None while there is none.
        stats: telemetry's counts, by the names of ``telemetry.Stats``; read once, at the end.
        stagger: seconds between one call and the next.
        patience: seconds a caller waits for a reply before it gives up.
        delivery: seconds to wait for the traces after the last call.
        stop: set it (on Ctrl-C, say) and the callers hang up; the report is then of what was.
        on_progress: told what happens, on the event loop.
    """
    stop = stop or anyio.Event()
    dealt = [
        Caller(
            scenario := scenarios[number % len(scenarios)],
            conversation=f"{scenario.name}-{number + 1}-{secrets.token_hex(4)}",
            url=url,
            token=token,
            patience=patience,
            on_progress=on_progress,
        )
        for number in range(callers)
    ]
    called = await _hold_calls(dealt, stagger, stop)
    interrupted = stop.is_set()
    results: list[CallResult] = [caller.result() for caller in called]

    async def look_up(number: int) -> None:
        record = await _delivered(read_trace, results[number].id, delivery)
        results[number] = _judged(results[number], called[number].scenario, record)

    async with anyio.create_task_group() as tasks:
        for number, result in enumerate(results):
            if result.trace_id is not None:
                tasks.start_soon(look_up, number)
    return Report(calls=tuple(results), stats=dict(stats()), interrupted=interrupted)


async def _hold_calls(dealt: Sequence[Caller], stagger: float, stop: anyio.Event) -> list[Caller]:
    """Let them call, one after the other but side by side; returns those that did."""
    called: list[Caller] = []

    async def hang_up() -> None:
        await stop.wait()
        for caller in called:
            caller.hang_up()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hang_up)
        async with anyio.create_task_group() as calls:
            for caller in dealt:
                if stop.is_set():
                    break
                called.append(caller)
                calls.start_soon(caller.call)
                with anyio.move_on_after(stagger):
                    await stop.wait()
        tasks.cancel_scope.cancel()
    return called


async def _delivered(
    read_trace: ReadTrace, conversation: str, patience: float
) -> ConversationRecord | None:
    """The record of a conversation, once it is complete; None if that takes too long."""
    with anyio.move_on_after(patience):
        while True:
            record = await read_trace(conversation)
            if record is not None and record.ended_at is not None:
                return record
            await anyio.sleep(_LOOK_AGAIN)
    return None


def _judged(
    result: CallResult, scenario: Scenario, record: ConversationRecord | None
) -> CallResult:
    """A call's result with the verdict on its trace, and telemetry's latencies beside its own."""
    if record is None:
        return replace(result, trace_failures=("its trace did not arrive",))
    verdict = judge(
        record,
        expected=[turn.expect for turn in scenario.turns],
        voiced=[
            turn.voiced_until if turn.measured_ms is not None else None for turn in result.turns
        ],
    )
    wrong = list(verdict.failures)
    if record.trace_id != result.trace_id:
        wrong.append(f"it is trace {record.trace_id}, the caller was told {result.trace_id}")
    return replace(
        result,
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
