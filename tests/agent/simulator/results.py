"""Results of simulated calls, as a run without a flaw would have them."""

from __future__ import annotations

from dataclasses import replace

from agent.session.line import Outcome
from agent.simulator.report import CallResult, Report, TurnResult

STATS = {"conversations": 1, "orphan_spans": 0, "dropped_spans": 0, "faults": 0, "dropped": {}}
TURN = TurnResult(
    caller="A table for four, please.",
    kind="spoken",
    words="A table for four, please.",
    heard="A table for four please",
    reply="For which day?",
    voiced_until=100.0,
    measured_ms=610.0,
    e2e_ms=600.04,
    stages_ms={"endpointing": 400.0, "llm": 200.04},
)
TYPED = TurnResult(caller="Friday", kind="typed", reply="At what time?")
CUTTING = TurnResult(
    caller="No, wait!",
    kind="spoken",
    words="No, wait!",
    heard="no wait",
    reply="Yes?",
    voiced_until=110.0,
    interruption="stops",
    stop_ms=340.0,
)
PAUSED = replace(TURN, pauses_ms=(612,))
CUT_OFF = replace(TURN, pauses_ms=(310, 588), cut_off=True)
NOISE = TurnResult(caller="(cough)", kind="spoken", interruption="resumes", spurious=1)
CALL = CallResult("booking-1", "booking", "a" * 32, Outcome.COMPLETED, (TURN, TYPED))
GOOD = Report((CALL,), STATS, seed=7, command="parley simulate booking --seed 7")
