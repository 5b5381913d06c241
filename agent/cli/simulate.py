"""``parley simulate``: the command, its help, and its options as one value.

The run itself is in :mod:`agent.cli.simulation`, imported only then: ``--help`` needs no models.
"""

from __future__ import annotations

import secrets

import typer

from config import load

from . import simulate_options as given
from . import terminal
from .simulate_options import Transport

HELP = """Let scripted callers hold conversations with the agent, and check all of it.

Starts the agent and the example's reservations service itself: behind the gateway or, with
--transport livekit, as a worker at the LiveKit server of the settings, where each caller has a
room. Every reply, interruption and silence is held against what the scenario expects, every
trace has to be complete, and what it tells has to agree with what was heard.

The scenarios are the agent's own: those that PARLEY_SCENARIOS names, else scenarios/*.yaml and
scenario.yaml beside it. The example has those that Parley ships. A folder beside them, as the
example's pauses (twenty sentences with a pause inside: nobody may be cut off), is run by its name.

Exit code 0 only if all of that held; 1 if something didn't; 2 if the input was wrong. Ctrl-C
hangs up and reports what was so far.

- `parley simulate`: every scenario of the agent, once
- `parley simulate booking --callers 8`: eight callers at once
- `parley simulate pauses --at-once 3`: people who pause within a sentence
- `parley simulate --at-once 8`: every scenario, eight at a time
- `parley simulate my.yaml --line snr=15,loss=0.05`: your own, on a bad line
- `parley simulate --callers 20 --hold 300`: twenty callers for five minutes
- `parley simulate --callers 8 --repeat 3 --seed 7`: three runs: seeds 7, 8, 9
"""


def command(
    scenarios: given.Scenarios = None,
    callers: given.Callers = None,
    at_once: given.AtOnce = None,
    seed: given.Seed = None,
    ramp: given.Ramp = None,
    hold: given.Hold = 0,
    repeat: given.Repeat = 1,
    line: given.Line = None,
    transport: given.TransportOption = Transport.GATEWAY,
    record: given.Record = False,
    report: given.ReportFile = None,
    junit: given.JunitFile = None,
    schema: given.Schema = False,
) -> None:
    """The command; its help is :data:`HELP`."""
    if schema:
        from agent import simulator

        terminal.say(simulator.schema(), end="")
        return
    settings = load()
    if record and settings.trace_store is not None:
        settings = settings.model_copy(update={"record": "all"})
    from . import process, simulation

    process.begin("WARNING")
    options = given.Options(
        scenarios=tuple(scenarios or ()),
        callers=callers,
        at_once=at_once,
        seed=secrets.randbelow(2**31) if seed is None else seed,
        ramp=ramp,
        hold=hold,
        repeat=repeat,
        line=line,
        transport=transport,
        report=report,
        junit=junit,
    )
    raise typer.Exit(0 if simulation.simulate(settings, options) else 1)
