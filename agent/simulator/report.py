"""The results of a simulation: frozen values, and the figures computed from them.

Latencies are milliseconds; times are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import jiwer
import numpy as np

from agent.simulator.responses import apart
from telemetry.attributes import STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.session.line import Outcome
    from agent.simulator.interruption import Effect
    from agent.simulator.scenario import Kind

AGREEMENT_MS: Final = 100.0
"""Difference allowed between telemetry's response latency and the callers' (p95), where nothing
lies between the two but a socket."""
BUSY_MS: Final = 150.0
"""Lateness of half of the callers' own audio from which the machine is too busy."""

_spelling: Final = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.SubstituteRegexes({r"[-\u2013\u2014]": " ", r"[^\w\s]": ""}),
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)


@dataclass(frozen=True, slots=True)
class Progress:
    """An event in a call, for whoever watches."""

    conversation: str
    scenario: str
    turn: int
    """Number of turns begun, of ``turns``."""
    turns: int
    what: str


@dataclass(frozen=True, slots=True)
class TurnResult:
    """A turn of the caller and its result."""

    caller: str
    """The caller's part: the words it said or typed, or a description in brackets."""
    kind: Kind
    reached: bool = True
    """False when the call was over before it."""
    words: str = ""
    """Words it said aloud; empty when it said nothing, or only made a noise."""
    heard: str = ""
    """Words that the agent heard from the caller."""
    reply: str = ""
    """The agent's words."""
    voiced_until: float | None = None
    """Time at which the caller's last voiced sample was sent."""
    measured_ms: float | None = None
    """Latency from the last voiced sample to the first audible sample of the reply, at the caller,
    from the audio."""
    swallowed_ms: float = 0.0
    """Length of the end of its speech that the line lost, or drowned in noise. The agent can't know
    of it: telemetry may tell so much more."""
    e2e_ms: float | None = None
    """Response latency as telemetry has it."""
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    """The stages telemetry tiles it with."""
    interruption: Effect | None = None
    """Effect on the agent's speech, from the audio; None when the agent wasn't speaking."""
    stop_ms: float | None = None
    """Time from the caller's first voiced sample to the last one heard of the speech it stopped."""
    missed: bool = False
    """True when it should have been answered, and wasn't."""
    spurious: int = 0
    """Number of speeches that answer nothing: into the turn, or after one that asks for none."""
    pauses_ms: tuple[int, ...] = ()
    """Pauses that the caller made within the turn."""
    cut_off: bool = False
    """True when the agent took one of them for its end."""
    failures: tuple[str, ...] = ()

    @property
    def apart_ms(self) -> float | None:
        """Difference of telemetry's response latency and those the caller can have measured."""
        if self.e2e_ms is None or self.measured_ms is None:
            return None
        return apart(self.e2e_ms, self.measured_ms, self.swallowed_ms)


@dataclass(frozen=True, slots=True)
class CallResult:
    """A call and the verdict on it. It passed if nothing failed."""

    id: str
    scenario: str
    trace_id: str | None
    """The id of its trace; None when the call was never accepted."""
    outcome: Outcome | None
    """The outcome, as the agent told it; None when the connection was lost before."""
    turns: tuple[TurnResult, ...]
    seed: int = 0
    """The seed of the run it was part of."""
    line: str = "clean"
    """The line's conditions, as ``--line`` takes them."""
    started_at: float = 0.0
    ended_at: float = 0.0
    talk_over_ms: float = 0.0
    """Time in which caller and agent could be heard at once."""
    late_ms: float = 0.0
    """Worst lateness of the caller's own audio: with more than a few tens, this machine was too
    busy for the figures to mean much."""
    shape: tuple[str, ...] = ()
    """Paths of operations that its trace has, each once."""
    stopped: bool = False
    """True when the caller was told to hang up before it had said everything."""
    failures: tuple[str, ...] = ()
    """Failures of the call itself, not of one turn."""
    trace_failures: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the call."""
        return self.ended_at - self.started_at

    @property
    def passed(self) -> bool:
        """True when every expectation and the trace held."""
        return not self.all_failures

    @property
    def all_failures(self) -> tuple[str, ...]:
        """Everything that failed, with where: in the call, in one of its turns, in its trace."""
        return (
            *self.failures,
            *(f"turn {n}: {why}" for n, turn in enumerate(self.turns, 1) for why in turn.failures),
            *(f"trace: {why}" for why in self.trace_failures),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """All calls of a simulation, in the order they were made."""

    calls: tuple[CallResult, ...]
    stats: Mapping[str, Any]
    """Telemetry's counts, as ``telemetry.Stats`` names them."""
    interrupted: bool = False
    """True when it was stopped before every call had ended."""
    seed: int = 0
    """Origin of every random choice in it."""
    agreement_ms: float = AGREEMENT_MS
    """Difference allowed between telemetry and the callers on response latency (p95)."""
    command: str = ""
    """The command line that makes the same run again."""

    @property
    def failures(self) -> tuple[str, ...]:
        """Failures of the run as a whole."""
        found = []
        if self.interrupted:
            found.append("interrupted before every call had ended")
        if not self.calls:
            found.append("no call was made")
        never = ("orphan_spans", "dropped_spans", "faults")
        found += [f"{self.stats[name]} {name}" for name in never if self.stats[name]]
        if (p95 := percentile(self.disagreements, 95)) is not None and p95 > self.agreement_ms:
            found.append(f"telemetry's latency and the callers' differ by {p95:.0f} ms (p95)")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """True when every call passed, telemetry lost and broke nothing, and latencies agree."""
        return not self.failures and all(call.passed for call in self.calls)

    @property
    def turns(self) -> list[TurnResult]:
        """The turns of all calls."""
        return [turn for call in self.calls for turn in call.turns]

    @property
    def measured(self) -> list[float]:
        """Every response latency measured at a caller."""
        return [turn.measured_ms for turn in self.turns if turn.measured_ms is not None]

    @property
    def told(self) -> list[float]:
        """Every response latency that telemetry tells."""
        return [turn.e2e_ms for turn in self.turns if turn.e2e_ms is not None]

    @property
    def disagreements(self) -> list[float]:
        """Difference of telemetry and the caller, for each turn that both measured."""
        return [turn.apart_ms for turn in self.turns if turn.apart_ms is not None]

    @property
    def stops(self) -> list[float]:
        """Time that each speech a caller stopped could be heard after the caller began to speak."""
        return [turn.stop_ms for turn in self.turns if turn.stop_ms is not None]

    @property
    def talk_over(self) -> float:
        """Seconds in which a caller and its agent could be heard at once, in all calls."""
        return sum(call.talk_over_ms for call in self.calls) / 1000

    @property
    def missed(self) -> int:
        """Turns that should have been answered and weren't."""
        return sum(turn.missed for turn in self.turns)

    @property
    def spurious(self) -> int:
        """Speeches of the agent's that answer nothing."""
        return sum(turn.spurious for turn in self.turns)

    @property
    def with_pauses(self) -> int:
        """Turns within which the caller made a pause."""
        return sum(bool(turn.pauses_ms) for turn in self.turns)

    @property
    def cut_off(self) -> int:
        """Those of them that the agent took for finished before they were."""
        return sum(turn.cut_off for turn in self.turns)

    @property
    def stages(self) -> dict[str, list[float]]:
        """Time that each stage took in each answered turn, in the stages' own order."""
        answered = [turn.stages_ms for turn in self.turns if turn.stages_ms]
        return {
            stage: took
            for stage in STAGES
            if any(took := [stages.get(stage, 0.0) for stages in answered])
        }

    @property
    def busy(self) -> float | None:
        """Lateness of callers' own audio (ms, median), if that is :data:`BUSY_MS` or more."""
        late = percentile([call.late_ms for call in self.calls], 50)
        return late if late is not None and late >= BUSY_MS else None

    @property
    def word_error_rate(self) -> float | None:
        """Wrong words per word said, over all turns said aloud; None when there was none.

        Case, punctuation and hyphens don't count as words; a turn that wasn't heard counts whole.
        """
        return word_error_rate(self.turns)

    @property
    def word_error_rates(self) -> dict[tuple[str, str], float]:
        """Word error rate of each scenario on each line (its conditions) that had words in it."""
        groups: dict[tuple[str, str], list[TurnResult]] = {}
        for call in self.calls:
            groups.setdefault((call.scenario, call.line), []).extend(call.turns)
        rates = {group: word_error_rate(turns) for group, turns in groups.items()}
        return {group: rate for group, rate in rates.items() if rate is not None}


def word_error_rate(turns: Sequence[TurnResult]) -> float | None:
    """Wrong words per word said aloud; None when nothing was."""
    said = [turn for turn in turns if turn.words and turn.voiced_until is not None]
    if not said:
        return None
    return jiwer.wer(
        [turn.words for turn in said],
        [turn.heard for turn in said],
        reference_transform=_spelling,
        hypothesis_transform=_spelling,
    )


def same_words(one: str, other: str) -> bool:
    """True when two texts differ in nothing that word error rate counts."""
    return bool(_spelling([one]) == _spelling([other]))


def percentile(values: Sequence[float], rank: float) -> float | None:
    """The value that ``rank`` per cent of the values don't exceed; None when there are none."""
    return float(np.percentile(values, rank)) if values else None
