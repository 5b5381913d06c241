"""Whole simulations over real sockets, against an agent whose every move is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from agent.session.line import Outcome
from agent.simulator.run import simulate
from agent.simulator.scenario import Scenario
from tests.agent.simulator.fake_agent import Answer, FakeAgent, fake_agent
from tests.agent.simulator.recordings import silence, tone, write_wav

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.simulator.report import Progress, Report
    from telemetry.records import ConversationRecord

STATS = {"orphan_spans": 0, "dropped_spans": 0, "dropped": {}}
SPOKEN = {"say": "hello.wav", "words": "Hello there"}
MACHINE_IS_BUSY = 0.08
"""Seconds by which two ends of a socket may differ on when a frame went through it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_wav(tmp_path / "hello.wav", silence(0.1) + tone(0.25) + silence(0.105))
    return tmp_path


def scenario(folder: Path, *turns: Mapping[str, object], outcome: str | None = None) -> Scenario:
    document = {"name": "test", "turns": turns, "outcome": outcome}
    return Scenario.model_validate(document, context={"folder": folder})


async def call(
    agent: FakeAgent, *scenarios: Scenario, callers: int = 1, patience: float = 5.0
) -> Report:
    return await simulate(
        scenarios,
        callers=callers,
        url=agent.url,
        read_trace=agent.trace,
        stats=lambda: STATS,
        stagger=0.05,
        patience=patience,
        delivery=0.5,
    )


async def test_conversation_that_goes_as_expected(folder: Path) -> None:
    """Replies, tools and traces hold; latency is what the agent itself measured."""
    told: list[Progress] = []
    spoken = scenario(
        folder,
        {**SPOKEN, "expect": {"reply": "how MANY", "within_ms": 3000}},
        {**SPOKEN, "expect": {"reply": "booked", "tool": "book", "arguments": {"party": 4}}},
    )
    typed = scenario(folder, {"text": "Hello there"}, {"text": "Four"})
    answers = (
        Answer("For how many?", heard="hello their", thinking=0.05),
        Answer("It is booked.", heard="hello there", tool=("book", {"party": 4}), thinking=0.2),
    )
    async with fake_agent(*answers) as agent:
        report = await simulate(
            [spoken, typed],
            callers=3,
            url=agent.url,
            read_trace=agent.trace,
            stats=lambda: STATS,
            stagger=0.05,
            on_progress=told.append,
        )
    first, second, third = report.calls
    assert report.passed
    assert {first.outcome, second.outcome, third.outcome} == {Outcome.HUNG_UP}
    for spoke in (first, third):
        known = agent.conversations[spoke.id].responses
        assert [turn.reply for turn in spoke.turns] == ["For how many?", "It is booked."]
        for turn, (voiced_until, audible_at) in zip(spoke.turns, known, strict=True):
            assert voiced_until is not None
            assert turn.voiced_until == pytest.approx(voiced_until, abs=MACHINE_IS_BUSY)
            assert turn.measured_ms is not None
            assert turn.measured_ms / 1000 == pytest.approx(
                audible_at - voiced_until, abs=MACHINE_IS_BUSY
            )
            assert turn.e2e_ms == pytest.approx(1000 * (audible_at - voiced_until))
            assert sum(turn.stages_ms.values()) == pytest.approx(turn.e2e_ms)
    assert [turn.measured_ms for turn in second.turns] == [None, None]
    assert report.word_error_rate == pytest.approx(2 / 8)
    assert {event.conversation for event in told} == {each.id for each in report.calls}
    assert told[-1].what == "ended: hung_up"


async def test_reply_that_never_comes(folder: Path) -> None:
    """A missing reply fails its turn; the caller gives up and hangs up; the others go on."""
    lost = scenario(folder, {**SPOKEN, "expect": {"reply": "."}}, {"text": "Hello?"})
    async with fake_agent(Answer(None)) as agent:
        report = await call(agent, lost, patience=0.5)
    (result,) = report.calls
    silent, unsaid = result.turns
    assert silent.failures == ("no reply in 0.5 s", "the reply '' does not match '.'")
    assert unsaid.failures == ("not reached: the call was over",)
    assert result.outcome is Outcome.HUNG_UP
    assert not report.passed


async def test_greeting_that_never_comes(folder: Path) -> None:
    """A caller isn't greeted: the call has failed, and nothing is said."""
    async with fake_agent(greeting=Answer(None)) as agent:
        (result,) = (await call(agent, scenario(folder, SPOKEN), patience=0.3)).calls
    assert result.failures == ("no greeting in 0.3 s",)
    assert result.turns[0].failures == ("not reached: the call was over",)


async def test_expectations_that_are_not_met(folder: Path) -> None:
    """Wrong words, a tool not called and a late reply each say what was found instead."""
    expect = {"reply": "booked", "tool": "book", "arguments": {"party": 4}, "within_ms": 300}
    wrong = Answer("We are full.", tool=("availability", {"party": 4}), thinking=0.3)
    async with fake_agent(wrong) as agent:
        (result,) = (await call(agent, scenario(folder, {**SPOKEN, "expect": expect}))).calls
    reply, tool, late = result.turns[0].failures
    assert reply == "the reply 'We are full.' does not match 'booked'"
    assert tool.endswith("""book {'party': 4} was not called (calls: availability {"party": 4})""")
    assert late.startswith("replied after")


async def test_agent_that_ends_the_call(folder: Path) -> None:
    """The agent may end the call after the last reply, not before the caller has said it all."""
    bye = Answer("Goodbye.", ends="completed")
    whole = scenario(folder, SPOKEN, outcome="completed")
    early = scenario(folder, SPOKEN, {"text": "Wait!"}, outcome="completed")
    async with fake_agent(bye) as agent:
        report = await call(agent, whole, early, callers=2)
    in_time, too_early = report.calls
    assert in_time.passed
    assert in_time.outcome is Outcome.COMPLETED
    assert too_early.turns[0].failures == ()
    assert too_early.turns[1].failures == ("not reached: the call was over",)


async def test_outcome_that_was_not_expected(folder: Path) -> None:
    """A call that ends otherwise than expected has failed, even if all was said."""
    async with fake_agent(Answer("Oh.", ends="failed")) as agent:
        (result,) = (await call(agent, scenario(folder, {"text": "Hi"}))).calls
    assert result.failures == ("the call ended as failed, not completed or hung_up",)


async def test_agent_that_should_end_the_call_and_does_not(folder: Path) -> None:
    """The caller waits for the end it expects, and hangs up when it doesn't come."""
    waits = scenario(folder, {"text": "Bye"}, outcome="completed")
    async with fake_agent(Answer("Goodbye.")) as agent:
        (result,) = (await call(agent, waits, patience=0.4)).calls
    assert result.failures == (
        "the agent did not end the call in 0.4 s",
        "the call ended as hung_up, not completed",
    )


async def test_connection_that_is_lost(folder: Path) -> None:
    """The code and reason of a lost connection are the call's failure."""
    async with fake_agent(Answer(drops=True)) as agent:
        (result,) = (await call(agent, scenario(folder, SPOKEN), patience=1)).calls
    assert result.failures == ("disconnected: out of memory (close code 1011)",)
    assert result.turns[0].failures == ("the call ended without a reply",)


async def test_gateway_that_is_not_there(folder: Path) -> None:
    """Nobody listening is a failed conversation, not the end of the run."""
    async with fake_agent() as agent:
        pass
    (result,) = (await call(agent, scenario(folder, SPOKEN))).calls
    assert result.trace_id is None
    assert result.failures[0].startswith(f"can't connect to {agent.url}")


async def test_traces_that_are_missing_or_wrong(folder: Path) -> None:
    """A conversation without a trace, or with a flawed one, has failed, however well it went."""

    async def broken(id: str) -> ConversationRecord | None:
        record = await agent.trace(id)
        if "-1-" in id or record is None:
            return None
        return replace(record, spans=record.spans[:1])

    async with fake_agent(Answer("Hi.")) as agent:
        report = await simulate(
            [scenario(folder, {"text": "Hi"})],
            callers=2,
            url=agent.url,
            read_trace=broken,
            stats=lambda: STATS,
            delivery=0.3,
        )
    missing, flawed = report.calls
    assert missing.trace_failures == ("its trace did not arrive",)
    assert "no span of op gen_ai.chat" in flawed.trace_failures
    assert not report.passed


async def test_stopping_hangs_up_and_reports_what_was(folder: Path) -> None:
    """Stopped in the middle, the callers hang up politely, and what was so far is reported."""
    stop = anyio.Event()
    reports: list[Report] = []
    async with fake_agent() as agent, anyio.create_task_group() as tasks:

        async def run() -> None:
            reports.append(
                await simulate(
                    [scenario(folder, SPOKEN)],
                    callers=2,
                    url=agent.url,
                    read_trace=agent.trace,
                    stats=lambda: STATS,
                    stagger=60,
                    stop=stop,
                )
            )

        tasks.start_soon(run)
        await agent.greeted.wait()
        stop.set()
    (report,) = reports
    (result,) = report.calls
    assert report.interrupted
    assert not report.passed
    assert result.outcome is Outcome.HUNG_UP
