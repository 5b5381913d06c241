"""Options of ``parley simulate``: as typer declares them, and as one frozen value.

Nothing heavy is imported here: ``--help`` needs no models.
"""

from __future__ import annotations

import enum
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Transport(enum.StrEnum):
    """The line that callers and the agent talk over."""

    GATEWAY = "gateway"
    LIVEKIT = "livekit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The choices of one run; None is "not given"."""

    scenarios: tuple[str, ...]
    callers: int | None
    at_once: int | None
    seed: int
    ramp: float | None
    """Seconds over which callers begin."""
    hold: float
    """Seconds in which a new call begins whenever one has ended."""
    repeat: int
    line: str | None
    transport: Transport
    report: Path | None
    junit: Path | None

    @property
    def command_line(self) -> str:
        """The command line that makes the same run again."""
        options: dict[str, object] = {
            "callers": self.callers,
            "at-once": self.at_once,
            "seed": self.seed,
            "ramp": self.ramp,
            "hold": self.hold or None,
            "repeat": self.repeat if self.repeat > 1 else None,
            "line": self.line,
            "transport": None if self.transport is Transport.GATEWAY else self.transport,
        }
        given = [
            part
            for name, value in options.items()
            if value is not None
            for part in (f"--{name}", f"{value:g}" if isinstance(value, float) else str(value))
        ]
        return shlex.join(["parley", "simulate", *self.scenarios, *given])


# -- each option, as the command takes it ----------------------------------------------------------

Scenarios: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        help="Scenarios, or a folder beside them, by name; or paths. If none, all of the agent's: "
        "PARLEY_SCENARIOS, or scenarios/ and scenario.yaml beside it."
    ),
]
Callers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1, help="Callers side by side, the scenarios dealt in turn. One each if not given."
    ),
]
AtOnce: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="Calls at a time, at most; the other callers wait."),
]
Seed: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Origin of every random choice: when callers begin, what the line does. "
        "Chosen, and printed, if not given.",
    ),
]
Ramp: TypeAlias = Annotated[
    float | None,
    typer.Option(min=0, help="Seconds over which callers begin. Half a second each if not given."),
]
Hold: TypeAlias = Annotated[
    float,
    typer.Option(min=0, help="Seconds in which a new call begins whenever one has ended."),
]
Repeat: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Runs one after the other, each with a seed one higher.")
]
Line: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Every caller's line instead of its scenario's: snr (dB), loss (a share), jitter, "
        "gap and clip (ms), echo (dB), or clean. As in snr=20,loss=0.02."
    ),
]
TransportOption: TypeAlias = Annotated[
    Transport,
    typer.Option(help="The line that callers and the agent talk over; livekit needs LIVEKIT_*."),
]
Record: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--record",
        help="Record every call, as PARLEY_RECORD=all does, where there is a trace store.",
    ),
]
ReportFile: TypeAlias = Annotated[Path | None, typer.Option(help="Write the JSON report here.")]
JunitFile: TypeAlias = Annotated[Path | None, typer.Option(help="Write a JUnit report (XML) here.")]
Schema: TypeAlias = Annotated[
    bool, typer.Option("--schema", help="Print the JSON schema of scenarios, and do nothing.")
]
