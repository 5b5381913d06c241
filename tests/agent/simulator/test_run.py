"""Whole simulations over real sockets, against an agent whose every move is known."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.gateway import connect
from agent.session.line import Outcome
from agent.simulator.run import Load, Simulation
from agent.simulator.scenario import Scenario
from telemetry import attributes as names
from telemetry.store import TraceStore
from telemetry.testing import capture
from tests.agent.simulator.fake_agent import Answer, FakeAgent, fake_agent
from tests.agent.simulator.recordings import silence, tone, write_wav

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from agent.gateway import Call
    from agent.simulator.report import Progress, Report
    from telemetry.records import ConversationRecord

pytestmark = pytest.mark.realtime

STATS = {"orphan_spans": 0, "dropped_spans": 0, "faults": 0, "dropped": {}}
SPOKEN = {"say": "hello.wav", "words": "Hello there"}
MACHINE_IS_BUSY = 0.08
"""Seconds by which two ends of a socket may differ on when a frame went through it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_wav(tmp_path / "hello.wav", silence(0.1) + tone(0.25) + silence(0.105))
    return tmp_path


def scenario(folder: Path, *turns: Mapping[str, object], **others: object) -> Scenario:
    document = {"name": "test", "turns": turns, **others}
    return Scenario.model_validate(document, context={"folder": folder})


def simulation(agent: FakeAgent, *scenarios: Scenario, **others: Any) -> Simulation:
    return Simulation(
        scenarios=scenarios,
        connect=others.pop("connect", partial(connect, agent.url)),
        read_trace=others.pop("read_trace", agent.trace),
        stats=lambda: STATS,
        **{"patience": 5.0, "delivery": 0.5, **others},
    )


async def call(
    agent: FakeAgent, *scenarios: Scenario, callers: int = 1, patience: float = 5.0
) -> Report:
    return await simulation(agent, *scenarios, patience=patience).run(Load(callers, ramp=0.1))


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
        run = simulation(agent, spoken, typed, on_progress=told.append)
        report = await run.run(Load(3, ramp=0.1))
    first, second, third = report.calls
    assert report.passed
    assert {first.outcome, second.outcome, third.outcome} == {Outcome.HUNG_UP}
    for spoke in (first, third):
        there = agent.conversations[spoke.id]
        assert [1000 * gap for gap in there.gaps] == [turn.measured_ms for turn in spoke.turns]
        known = there.responses
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


@pytest.mark.parametrize("sample_rate", [0.0, 1.0])
async def test_callers_trace_their_own_side(folder: Path, sample_rate: float) -> None:
    """What a caller said, heard and measured is in a transaction above the conversation; its words
    stay here. Whether Sentry gets it is of no consequence."""
    both = scenario(folder, SPOKEN, {"text": "Four of us"})
    store = folder / "traces.db"
    with capture(store=store, sample_rate=sample_rate) as captured:
        async with fake_agent(Answer("For how many?"), Answer("It is booked.")) as agent:
            report = await call(agent, both)
            (there,) = agent.conversations.values()
        sent = captured.transactions
    assert report.passed, report.calls
    assert report.calls[0].trace_id == there.context[0]
    (own,) = TraceStore(store).trace(there.context[0])
    root, spoken, typed = own.spans
    assert (own.op, own.name, own.status) == (names.OP_CALLER, "test", "ok")
    assert root.span_id == there.context[1]
    assert spoken.attributes[names.AGENT_WORDS] == "For how many?"
    assert typed.attributes[names.USER_WORDS] == "Four of us"
    assert report.measured == pytest.approx([1000 * spoken.attributes[names.RESPONSE_LATENCY]])
    assert there.typed == [f"{there.context[0]}-{typed.span_id}"]
    assert len(sent) == sample_rate
    assert not any(words in str(sent) for words in ("Four of us", "For how many?", "Hello there"))


async def test_conversation_elsewhere_fails_the_run(folder: Path) -> None:
    """A conversation that isn't below its caller is a flaw of its trace."""

    async def stray(id: str) -> ConversationRecord | None:
        record = await agent.trace(id)
        if record is None:
            return None
        root, *spans = record.spans
        return replace(record, spans=(replace(root, parent_span_id=None), *spans))

    async with fake_agent(Answer("Hi.")) as agent:
        run = simulation(agent, scenario(folder, {"text": "Hi"}), read_trace=stray)
        report = await run.run(Load(1))
    (wrong,) = report.calls[0].trace_failures
    assert wrong.startswith("the root's parent is None, not ")
    assert not report.passed


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
    assert tool.endswith(
        """book {'party': 4} was not called (calls: availability {"party": 4} succeeded)"""
    )
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
        run = simulation(agent, scenario(folder, {"text": "Hi"}), read_trace=broken)
        report = await run.run(Load(2))
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
            held = simulation(agent, scenario(folder, SPOKEN), stop=stop)
            reports.append(await held.run(Load(2, ramp=60)))

        tasks.start_soon(run)
        await agent.greeted.wait()
        stop.set()
    (report,) = reports
    (result,) = report.calls
    assert report.interrupted
    assert not report.passed
    assert result.outcome is Outcome.HUNG_UP
    assert result.failures == ("stopped before it had ended",)
    assert (result.turns[0].failures, result.trace_failures) == ((), ())


PAUSING = {"say": ["hello.wav", 600, "hello.wav"], "words": "Hello there"}


async def test_agent_that_takes_a_pause_for_the_end(folder: Path) -> None:
    """Who answers before all pieces are said has cut the caller off: the turn fails, and counts."""
    hasty = Answer("For how many?", thinking=0.02, seconds=0.3)
    async with fake_agent(hasty, Answer("It is booked."), Answer("Goodbye.")) as agent:
        report = await call(agent, scenario(folder, PAUSING))
    (turn,) = report.calls[0].turns
    (why,) = turn.failures
    assert re.fullmatch(
        r"cut off: the agent took its turn \d+ ms into the sentence, before the caller had said "
        "all of it",
        why,
    )
    assert (report.cut_off, report.with_pauses, report.spurious) == (1, 1, 1)
    assert not report.passed


async def test_agent_that_waits_for_all_of_a_sentence(folder: Path) -> None:
    """One answer to all pieces, measured from the last one; the seed says how long the pause is."""
    pausing = scenario(folder, {**PAUSING, "say": ["hello.wav", 120, "hello.wav"]})
    async with fake_agent(Answer("For how many?")) as agent:
        report = await simulation(agent, pausing).run(Load(1, repeat=3))
        known = [there.responses for there in agent.conversations.values()]
    assert report.passed, report.calls
    assert (report.cut_off, report.with_pauses) == (0, 3)
    pauses = [each.turns[0].pauses_ms[0] for each in report.calls]
    assert len(set(pauses)) > 1
    assert all(108 <= pause <= 132 for pause in pauses)
    for [[voiced_until, _]], each in zip(known, report.calls, strict=True):
        assert each.turns[0].voiced_until == pytest.approx(voiced_until, abs=MACHINE_IS_BUSY)


LONG = Answer("We are open every day.", seconds=3.0, talked_over="stops")
CUT_IN = {**SPOKEN, "barge_in_ms": 300}


async def test_agent_that_stops_when_talked_over(folder: Path) -> None:
    """How soon it stopped is measured from the caller's first voiced to its last audible sample."""
    cutting = scenario(
        folder, {"text": "Hi"}, {**CUT_IN, "expect": {"interruption": "stops", "reply": "Sorry"}}
    )
    async with fake_agent(LONG, Answer("Sorry?")) as agent:
        report = await call(agent, cutting)
    (result,) = report.calls
    (heard,) = agent.conversations.values()
    assert report.passed, result
    turn = result.turns[1]
    assert (turn.interruption, turn.missed, turn.spurious) == ("stops", False, 0)
    assert turn.stop_ms is not None
    assert turn.voiced_until is not None
    assert heard.loud_at is not None
    first_voiced = turn.voiced_until - 0.25
    expected = heard.loud_at - first_voiced
    assert turn.stop_ms / 1000 == pytest.approx(expected, abs=2 * MACHINE_IS_BUSY)
    assert result.talk_over_ms <= turn.stop_ms + 1000 * MACHINE_IS_BUSY


async def test_agent_that_pauses_for_a_noise(folder: Path) -> None:
    """A cough that the agent pauses for and doesn't answer is a false interruption."""
    cough = {"say": "hello.wav", "words": "", "barge_in_ms": 200}
    expect = {"no_reply": True, "interruption": "resumes"}
    pausing = replace(LONG, seconds=0.8, talked_over="pauses")
    coughing = scenario(folder, {"text": "Hi"}, {**cough, "expect": expect})
    async with fake_agent(pausing) as agent:
        report = await call(agent, coughing)
    assert report.passed, report.calls
    assert report.word_error_rate is None


async def test_agent_that_is_not_impressed(folder: Path) -> None:
    """Talked over, it goes on: what was expected instead is said."""
    deaf = replace(LONG, seconds=0.8, talked_over="ignores")
    cutting = {**CUT_IN, "expect": {"no_reply": True, "interruption": "stops"}}
    async with fake_agent(deaf) as agent:
        (result,) = (await call(agent, scenario(folder, {"text": "Hi"}, cutting))).calls
    assert result.turns[1].failures == (
        "interruption none, expected stops: the agent's speech went on",
    )
    assert result.turns[1].stop_ms is None


async def test_interruption_that_the_trace_does_not_have(folder: Path) -> None:
    """What was heard to be cut has to be cut in the trace, too."""

    async def smooth(id: str) -> ConversationRecord | None:
        agent.conversations[id].cuts.clear()
        return await agent.trace(id)

    async with fake_agent(LONG, Answer("Sorry?")) as agent:
        run = simulation(agent, scenario(folder, {"text": "Hi"}, CUT_IN), read_trace=smooth)
        (result,) = (await run.run(Load(1))).calls
    (wrong,) = result.trace_failures
    assert wrong.startswith("the agent was cut short")


async def test_answer_to_what_asks_nothing(folder: Path) -> None:
    """A turn that must not be answered, and is, has failed: a spurious reply."""
    hum = {**SPOKEN, "words": "", "expect": {"no_reply": True}}
    async with fake_agent(Answer("Pardon?")) as agent:
        report = await call(agent, scenario(folder, hum))
    assert report.calls[0].turns[0].failures == ("the agent answered, and wasn't to: 'Pardon?'",)
    assert report.spurious == 1


async def test_silent_caller(folder: Path) -> None:
    """A silence is waited out; the agent may speak in it, and end the call."""
    silent = scenario(
        folder,
        {"silence": 1500, "expect": {"reply": "still there"}},
        {"silence": 20_000},
        outcome="idle",
    )
    asks = Answer("Are you still there?", unasked_after=0.8)
    ends = Answer("Goodbye.", unasked_after=1.5, ends="idle")
    async with fake_agent(asks, ends) as agent:
        report = await call(agent, silent)
    assert report.passed, report.calls
    assert report.calls[0].outcome is Outcome.IDLE
    assert report.calls[0].seconds < 10


async def test_silence_that_has_to_be_borne(folder: Path) -> None:
    """An agent that speaks into a silence that expects no reply has failed."""
    silent = scenario(folder, {"silence": 1500, "expect": {"no_reply": True}})
    async with fake_agent(Answer("Hello?", unasked_after=0.8)) as agent:
        report = await call(agent, silent)
    assert "wasn't to: 'Hello?'" in report.calls[0].turns[0].failures[0]
    async with fake_agent() as agent:
        assert (await call(agent, silent)).passed


async def test_hanging_up_in_the_middle(folder: Path) -> None:
    """A caller that hangs up while the agent speaks has had its say; nothing is missing."""
    leaving = scenario(folder, SPOKEN, {"hang_up": True, "barge_in_ms": 100})
    async with fake_agent(replace(LONG, seconds=0.5, talked_over="answers")) as agent:
        report = await call(agent, leaving)
    assert report.passed, report.calls
    assert report.calls[0].outcome is Outcome.HUNG_UP


async def test_reservations_are_read_after_the_call(folder: Path) -> None:
    """What the conversation was to leave in the book is looked for there."""

    async def book() -> list[dict[str, object]]:
        return [{"id": "ab", "party": 4}]

    wanting = scenario(folder, {"text": "Hi"}, reservations=[{"party": 4}])
    async with fake_agent(Answer("Hi.")) as agent:
        report = await simulation(agent, wanting, read_reservations=book).run(Load(1))
    assert report.calls[0].failures == ("it left no reservation with {'party': 4}: it left none",)


async def test_a_seed_decides_what_chance_does(folder: Path) -> None:
    """The same seed sends the same audio down the same bad line; another one doesn't."""
    noisy = scenario(folder, SPOKEN, line={"snr_db": 10, "loss": 0.3})
    sent: dict[int, list[bytes]] = {}

    async def run(number: int, seed: int) -> None:
        async with fake_agent(Answer("Hi.")) as agent:
            await simulation(agent, noisy).run(Load(1, seed=seed))
        (heard,) = agent.conversations.values()
        sent[number] = heard.frames[:20]

    async with anyio.create_task_group() as runs:
        for number, seed in enumerate((1, 1, 2)):
            runs.start_soon(run, number, seed)
    assert sent[0] == sent[1]
    assert sent[0] != sent[2]


async def test_load_is_held(folder: Path) -> None:
    """While the load is held a new call begins whenever one has ended; runs repeat with a seed
    one higher."""
    async with fake_agent(Answer("Hi.")) as agent:
        run = simulation(agent, scenario(folder, {"text": "Hi"}))
        held = await run.run(Load(2, hold=3.0, seed=5))
        repeated = await run.run(Load(2, repeat=2, seed=5))
    assert held.passed
    assert len(held.calls) > 2
    assert [call.seed for call in repeated.calls] == [5, 5, 6, 6]


async def test_calls_at_once_are_limited(folder: Path) -> None:
    """Everybody calls, and never more at a time than allowed."""
    async with fake_agent(Answer("Hi.")) as agent:
        run = simulation(agent, scenario(folder, {"text": "Hi"}))
        report = await run.run(Load(4, at_once=2))
    assert report.passed
    calls = [(call.started_at, call.ended_at) for call in report.calls]
    assert len(calls) == 4
    assert all(sum(began <= at < ended for began, ended in calls) <= 2 for at, _ in calls)


async def test_who_waits_does_not_call_again_once_the_hold_is_over(folder: Path) -> None:
    """A load that is held ends with the calls of that moment: only who never called still does."""
    hold, numbers = 2.0, count()

    @asynccontextmanager
    async def call_again_too_late(**options: Any) -> AsyncIterator[Call]:
        if next(numbers):  # the first caller waits for the second one's seat meanwhile
            await anyio.sleep(hold)
        async with connect(agent.url, **options) as call:
            yield call

    async with fake_agent(Answer("Hi.")) as agent:
        run = simulation(agent, scenario(folder, {"text": "Hi"}), connect=call_again_too_late)
        report = await run.run(Load(2, at_once=1, hold=hold))
    assert report.passed
    assert len(report.calls) == 2


async def test_a_caller_that_fails_costs_nobody_anything(folder: Path) -> None:
    """Whatever goes wrong in one call, the others go on and hold."""
    broken = scenario(folder, SPOKEN, {**SPOKEN, "barge_in_ms": 0})
    async with fake_agent(Answer("Hi."), Answer(drops=True)) as agent:
        report = await call(agent, broken, scenario(folder, {"text": "Hi"}), callers=2)
    failed, fine = report.calls
    assert failed.failures == ("disconnected: out of memory (close code 1011)",)
    assert fine.passed
