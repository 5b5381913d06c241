"""``python -m tests.bench [--quick] [--json FILE] [PART …]``: measure, and print the table.

``away`` and ``moods`` take minutes each, and run only where they are named.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from rich.console import Console

from . import (
    away,
    churn,
    compared,
    density,
    first_token,
    gateways,
    hostile,
    live,
    moods,
    requests,
    rooms,
    sessions,
    spans,
    stall,
    viewer,
)
from .figures import Figure, table

PARTS = ("spans", "stall", "requests", "first-token", "sessions", "density", "hostile")
LONG = ("away", "moods", "churn", "rooms", "gateways", "viewer", "live", "compared")
"""Parts that aren't measured unless they are named."""


def _numbers(text: str) -> list[int]:
    """Numbers with commas between them."""
    numbers = [int(number) for number in text.split(",")]
    if min(numbers) < 1:
        raise ValueError("below 1")
    return numbers


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(PARTS)} (these by default), {', '.join(LONG)}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round, fewer sessions: a smoke test"
    )
    parser.add_argument(
        "--sizes",
        type=_numbers,
        default=list(density.SIZES),
        metavar="N,…",
        help=f"of density: callers a process, one run each ({','.join(map(str, density.SIZES))})",
    )
    parser.add_argument(
        "--processes",
        type=_numbers,
        default=[1],
        metavar="N,…",
        help="of density: processes on one port, all these numbers in one run (1,2)",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="CHECKOUT",
        help="of rooms, of gateways: another checkout, with its .venv, that takes turns with this",
    )
    parser.add_argument(
        "--calls",
        type=int,
        default=10_000,
        metavar="N",
        help="of churn: how many calls come and go",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--minutes", type=float, default=10.0, help="of away, of moods")
    given = parser.parse_args()
    if unknown := set(given.parts) - {*PARTS, *LONG}:
        parser.error(f"no such part: {', '.join(unknown)}: choose from {', '.join(PARTS + LONG)}")
    seconds = 20.0 if given.quick else 60 * given.minutes
    figures: list[Figure] = []
    console = Console(width=120)  # the table's width, also where there is no terminal
    rounds = 1 if given.quick else 5
    for part in given.parts or PARTS:
        match part:
            case "spans":
                found = spans.measure(2 * rounds)
            case "stall":
                found = stall.measure(rounds)
            case "requests":
                found = requests.measure(rounds)
            case "first-token":
                found = first_token.measure(rounds)
            case "density":
                sizes = [10] if given.quick else given.sizes
                seconds = 7.0 if given.quick else 24.0
                found = [*density.measure(sizes, seconds, given.processes)]
            case "rooms":
                size, seconds = (2, 3.0) if given.quick else (rooms.ROOMS, 20.0)
                found = [*rooms.measure(min(rounds, 3), size, seconds, given.against)]
            case "gateways":
                size, seconds = (5, 7.0) if given.quick else (gateways.CALLERS, 21.0)
                found = [*gateways.measure(min(rounds, 3), size, seconds, given.against)]
            case "churn":
                found = [*churn.measure(200 if given.quick else given.calls)]
            case "hostile":
                found = []
                for each in hostile.measure(8.0 if given.quick else 20.0):
                    if isinstance(each, Figure):
                        found.append(each)
                    else:
                        console.print(each, markup=False)
            case "away":
                found = [*away.measure(seconds)]
            case "moods":
                found = [*moods.measure(seconds)]
            case "viewer":
                found = [*viewer.measure(viewer.SIZES[:1] if given.quick else viewer.SIZES)]
            case "live":
                found = [*live.measure(3 if given.quick else live.CALLS)]
            case "compared":
                found = [*compared.measure(3 if given.quick else compared.CALLERS)]
            case _:
                sessions_held, seconds = (5, 7.0) if given.quick else (50, 30.0)
                found = sessions.measure(rounds, sessions=sessions_held, seconds=seconds)
        console.print(table(found))
        console.print()
        figures += found
    if given.json is not None:
        given.json.write_text(json.dumps([dataclasses.asdict(f) for f in figures], indent=2) + "\n")


if __name__ == "__main__":
    main()
