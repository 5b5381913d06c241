"""The check of turns against their expectations. Pure functions of what the caller heard."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from agent.simulator.interruption import find_interruption
from agent.simulator.report import TurnResult
from agent.simulator.scenario import SpokenTurn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.simulator.hearing import AgentSpeech, Round
    from agent.simulator.interruption import Interruption
    from agent.simulator.scenario import Turn


def check_turns(
    turns: Sequence[Turn],
    rounds: Sequence[Round],
    speeches: Sequence[AgentSpeech],
    *,
    stopped: bool,
) -> tuple[TurnResult, ...]:
    """The result of each turn; there are fewer rounds than turns when the call was over too soon.

    ``stopped``: the caller was told to hang up, so a missing part is nobody's failure.
    """
    found = []
    for turn, this, following in zip_longest(turns, rounds, rounds[1:]):
        if this is None:
            unsaid = () if stopped else ("not reached: the call was over",)
            found.append(TurnResult(turn.doing, turn.kind, reached=False, failures=unsaid))
            continue
        until = None if following is None else following.began_at
        over = find_interruption(speeches, this.began_at, until)
        missed = (
            turn.wants_answer and not this.answered and (this is rounds[-1] or bool(this.failures))
        )
        unmet = () if stopped else (*this.failures, *_unmet(turn, this, over, missed=missed))
        found.append(_result(turn, this, over, missed=missed and not stopped, unmet=unmet))
    return tuple(found)


def _result(
    turn: Turn, this: Round, over: Interruption | None, *, missed: bool, unmet: tuple[str, ...]
) -> TurnResult:
    measured = this.measured
    words = turn.words if isinstance(turn, SpokenTurn) else ""
    stopped_after = over.stopped_after if over is not None and words else None
    return TurnResult(
        caller=turn.doing,
        kind=turn.kind,
        words=words,
        heard=" ".join(this.heard),
        reply=" ".join(this.reply),
        voiced_until=this.voiced_until,
        measured_ms=None if measured is None else 1000 * measured,
        swallowed_ms=1000 * this.swallowed,
        pauses_ms=this.pauses_ms,
        cut_off=this.cut_off_after is not None,
        interruption=None if over is None else over.effect,
        stop_ms=None if stopped_after is None else 1000 * stopped_after,
        missed=missed,
        spurious=this.spoken_into + (turn.expect.no_reply and this.answered),
        failures=unmet,
    )


def _unmet(turn: Turn, this: Round, over: Interruption | None, *, missed: bool) -> Iterator[str]:
    """The expectations of a turn that were not met."""
    if missed and not this.failures:
        yield "the call ended without a reply"
    if (after := this.cut_off_after) is not None:
        yield (
            f"cut off: the agent took its turn {1000 * after:.0f} ms into the sentence, before the "
            "caller had said all of it"
        )
    expect, reply, measured = turn.expect, " ".join(this.reply), this.measured
    if expect.no_reply and this.answered:
        yield f"the agent answered, and wasn't to: {reply!r}"
    if expect.reply is not None and not expect.reply.search(reply):
        yield f"the reply {reply!r} does not match {expect.reply.pattern!r}"
    if expect.tool is not None:
        made = [(call.name, call.arguments, call.ok) for call in this.tools]
        if not any(expect.called(*call) and ok is expect.tool_ok for *call, ok in made):
            calls = [
                f"{name} {given} {'succeeded' if ok else 'failed'}" for name, given, ok in made
            ]
            did = "was not called" if expect.tool_ok else "did not fail"
            wanted = f"{expect.tool} {dict(expect.arguments)}"
            yield f"tool {wanted} {did} (calls: {', '.join(calls) or 'none'})"
    if expect.within_ms is not None:
        if measured is None:
            yield f"no audible reply, expected within {expect.within_ms} ms"
        elif 1000 * measured > expect.within_ms:
            yield f"replied after {1000 * measured:.0f} ms, expected within {expect.within_ms} ms"
    if expect.interruption is not None:
        if over is None:
            yield f"the agent was not speaking: {expect.interruption} needs a speech to talk over"
        elif over.effect != expect.interruption:
            yield (
                f"interruption {over.effect}, expected {expect.interruption}: the agent's speech "
                f"{_EFFECTS[over.effect]}"
            )


_EFFECTS = {
    "stops": "was cut off",
    "resumes": "paused and went on",
    "none": "went on",
}
