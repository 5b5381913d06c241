"""``parley simulate``: its options, and what they come to as plain values.

What runs is in :mod:`agent.cli.simulation`, imported when it does: ``--help`` needs no models.
"""

from __future__ import annotations

import enum
import secrets
import shlex
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from config import load

HELP = """Let scripted callers hold conversations with the agent, and check all of it.

Starts the agent and the example's reservations service itself: behind the gateway or, with
--transport livekit, as a worker at the LiveKit server of the settings, where each caller has a
room. Every reply, interruption and silence is held against what the scenario expects, every
trace has to be complete, and what it tells has to agree with what was heard.

Exit code 0 only if all of that held; 1 if something didn't; 2 if the input was wrong. Ctrl-C
hangs up and reports what was so far.

\b
parley simulate                                   every shipped scenario, once
parley simulate booking --callers 8               eight callers at once
parley simulate --at-once 8                       every shipped scenario, eight at a time
parley simulate my.yaml --line snr=15,loss=0.05   your own, on a bad line
parley simulate --callers 20 --hold 300           twenty callers for five minutes
parley simulate --callers 8 --repeat 3 --seed 7   three runs: seeds 7, 8, 9
"""


class Transport(enum.StrEnum):
    """What callers and the agent talk over."""

    GATEWAY = "gateway"
    LIVEKIT = "livekit"


def command(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(help="Scenarios by name, or paths of YAML files. All shipped ones if none."),
    ] = None,
    callers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Callers side by side, the scenarios dealt in turn. One each if not given."
        ),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(min=1, help="Calls at a time, at most; the other callers wait."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="What every random choice derives from: when callers begin, what the line does. "
            "Chosen, and printed, if not given.",
        ),
    ] = None,
    ramp: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds over which callers begin. Half a second each if not given."
        ),
    ] = None,
    hold: Annotated[
        float,
        typer.Option(min=0, help="Seconds in which a new call begins whenever one has ended."),
    ] = 0,
    repeat: Annotated[
        int, typer.Option(min=1, help="Runs one after the other, each with a seed one higher.")
    ] = 1,
    line: Annotated[
        str | None,
        typer.Option(
            help="Every caller's line instead of its scenario's: snr (dB), loss (a share), jitter, "
            "gap and clip (ms), echo (dB), or clean. As in snr=20,loss=0.02."
        ),
    ] = None,
    transport: Annotated[
        Transport,
        typer.Option(help="What callers and the agent talk over; livekit needs LIVEKIT_*."),
    ] = Transport.GATEWAY,
    report: Annotated[Path | None, typer.Option(help="Write the JSON report here.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report (XML) here.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of scenarios, and do nothing.")
    ] = False,
) -> None:
    """The command; its help is :data:`HELP`."""
    if schema:
        from agent import simulator

        typer.echo(simulator.schema(), nl=False)
        return
    settings = load()
    from . import process, simulation

    process.log_to_stderr("WARNING")
    names = scenarios or []
    seed = secrets.randbelow(2**31) if seed is None else seed
    passed = simulation.simulate(
        settings,
        names,
        callers=callers,
        at_once=at_once,
        ramp=ramp,
        hold=hold,
        repeat=repeat,
        seed=seed,
        line=line,
        transport=transport,
        files=simulation.Files(report=report, junit=junit),
        again=_again(
            names,
            callers=callers,
            at_once=at_once,
            seed=seed,
            ramp=ramp,
            hold=hold or None,
            repeat=repeat if repeat > 1 else None,
            line=line,
            transport=None if transport is Transport.GATEWAY else transport,
        ),
    )
    raise typer.Exit(0 if passed else 1)


def _again(names: list[str], **options: object) -> str:
    """The command line that makes the same run again."""
    given = [
        part
        for name, value in options.items()
        if value is not None
        for part in (
            f"--{name.replace('_', '-')}",
            f"{value:g}" if isinstance(value, float) else str(value),
        )
    ]
    return shlex.join(["parley", "simulate", *names, *given])
