"""What a gateway session costs, here and in another checkout, which takes turns with this one.

Both serve the same callers, with speech faked, telemetry and its store included
(:mod:`.faked_gateway`).
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from . import faked_gateway
from .figures import Figure, medians
from .load import program, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLERS: Final = 30
SHARE_OF_BEFORE: Final = 0.5
"""Share of the other's CPU that a session is to take, of a checkout from before it was measured."""
_SETTLE_SECONDS: Final = 8.0
"""Time the callers have to begin, and to be answered once."""


def _hold(checkout: Path | None, callers: int, seconds: float) -> dict[str, float]:
    """CPU of a checkout's gateway with so many callers, and the answers that came and didn't."""
    python, surroundings = sys.executable, {**os.environ}
    if checkout is not None:
        python = str(checkout.absolute() / ".venv" / "bin" / "python")
        surroundings["PYTHONPATH"] = str(checkout.absolute())
    pipe = subprocess.PIPE
    with subprocess.Popen(  # not from this folder: its modules have names of others'
        [python, "-P", faked_gateway.__file__, "0"],
        cwd=checkout,
        env=surroundings,
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        url = told(server)
        if not url:
            raise RuntimeError(f"the gateway of {checkout or 'this checkout'} did not start")
        whole = _SETTLE_SECONDS + seconds
        with program("density", "call", url, callers, whole, _SETTLE_SECONDS) as calling:
            told(calling)  # all have been taken
            assert server.stdin is not None
            server.stdin.write(f"{seconds - 1.0}\n")
            server.stdin.flush()
            cpu = float(told(server))
            answers = json.loads(told(calling))
        server.communicate("\n", timeout=60)
    missing = sum(one is None for one in answers)
    return {"cpu": cpu, "answers": len(answers), "missing": missing}


def measure(rounds: int, callers: int, seconds: float, against: Path | None) -> Iterator[Figure]:
    """CPU of a session of this checkout's gateway, in turns with another's if one is given."""
    contenders = {"here": functools.partial(_hold, None, callers, seconds)}
    if against is not None:
        contenders["there"] = functools.partial(_hold, against, callers, seconds)
    found = medians(rounds, contenders)
    here, there = found["here"], found.get("there")
    for whose, one in (("here", here), ("with the other checkout", there)):
        if one is not None:
            yield Figure(f"missing answers {whose}", one["missing"], f"of {one['answers']:g}")
    yield Figure(
        f"CPU of a session, {callers} callers",
        here["cpu"] / callers,
        "% core",
        None if there is None else here["cpu"] / there["cpu"],
        "" if there is None else f"{there['cpu'] / callers:.2f} with the other checkout",
        None if there is None else SHARE_OF_BEFORE,
    )
