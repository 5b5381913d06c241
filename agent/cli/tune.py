"""``parley tune``: the command, its help and its options.

The runs themselves are in :mod:`agent.cli.tuning`, imported only then: ``--help`` needs no models.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from config import load

HELP = """Find out how long callers should be waited for, and say which settings do best.

How soon an agent answers, and whether it cuts people off, is a matter of PARLEY_TURN_DETECTION,
PARLEY_ENDPOINTING_MIN_DELAY and PARLEY_ENDPOINTING_MAX_DELAY. This runs the simulator once for each
combination of those you give, with the same callers, pauses and noise each time, and prints a row
for each:

- false ends: turns that were cut off in a pause, or spoken into

- missed ends: turns that weren't answered, or after more than 3 s

- p50, p95: response latency at the callers, from the audio

- words wrong: share of the words that were recognised wrong

A row with a * is one that no other beats in everything. The last sentence recommends one: the
fewest false and missed ends, and then the shortest wait. Use a machine that does nothing else,
and --repeat for a verdict that isn't chance.

Callers are the agent's scenarios, and those in a folder `pauses` beside them; the example's take
some three minutes a row. Ctrl-C ends it: what is measured by then is shown. A combination that
fails is told in one line, and the others are tried.

Delays are the detection's own unless given here, whatever the settings say: where they are to be
unset for what is recommended, that is said.

Exit code 0 if something can be recommended; 1 if nothing can; 2 if the input was wrong.

Examples:

- `parley tune`: words and vad, with some delays each

- `parley tune pauses --detection vad --min-delay 0.3,0.5,0.8`

- `parley tune --line clean --line snr=15,loss=0.05`: each on a good line and on a bad one

- `parley tune --repeat 3 --json tuned.json`: three seeds, and the figures in a file
"""

Scenarios = Annotated[
    list[str] | None,
    typer.Argument(help="Scenarios, or a folder beside them, by name; or paths."),
]
Detections = Annotated[
    list[str] | None,
    typer.Option(
        "--detection",
        help="words, vad or model; several with commas, or given repeatedly. words and vad if not "
        "given.",
    ),
]
MinDelays = Annotated[
    list[str] | None,
    typer.Option(
        "--min-delay",
        help="Least silence before an answer, in seconds; several likewise. If not given, the "
        "detection's own, and some around it.",
    ),
]
MaxDelays = Annotated[
    list[str] | None,
    typer.Option(
        "--max-delay",
        help="Silence before an answer where more seems to come, in seconds; several likewise. The "
        "detection's own if not given. Not tried with vad, which never waits for it, unless "
        "PARLEY_ENDPOINTING is dynamic.",
    ),
]
Lines = Annotated[
    list[str] | None,
    typer.Option(
        "--line", help="A line as in parley simulate, for all callers; repeat it for several."
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help="Origin of every random choice. Chosen, and printed, if not given."),
]
Repeat = Annotated[int, typer.Option(min=1, help="Runs of each, with seeds one higher.")]
AtOnce = Annotated[int, typer.Option(min=1, help="Calls at a time.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures here, as JSON.")]


def command(
    scenarios: Scenarios = None,
    detection: Detections = None,
    min_delay: MinDelays = None,
    max_delay: MaxDelays = None,
    line: Lines = None,
    seed: Seed = None,
    repeat: Repeat = 1,
    at_once: AtOnce = 4,
    json: Json = None,
) -> None:
    """The command; its help is :data:`HELP`."""
    settings = load()
    from . import process, tuning

    process.begin("WARNING")
    found = tuning.tune(
        settings,
        tuning.Plan(
            scenarios=tuple(scenarios or ()),
            ways=tuning.grid(
                detection or (),
                min_delay or (),
                max_delay or (),
                dynamic=settings.endpointing == "dynamic",
            ),
            lines=tuple(line or ()),
            seed=secrets.randbelow(2**31) if seed is None else seed,
            repeat=repeat,
            at_once=at_once,
            json=json,
        ),
    )
    raise typer.Exit(0 if found else 1)
