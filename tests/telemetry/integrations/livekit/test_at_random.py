"""Sessions at random: whatever happens in one, its trace is whole and says what its history says.

What hypothesis prints when it fails is a call of :func:`held`: make that a test of its own, then
mend it.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from telemetry.attributes import OP_HANDOFF
from telemetry.testing import capture

from .drawn import HEARD, KINDS, STEPS, Step, hold
from .tree import complete

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "12"))
SEED: Final = os.environ.get("FUZZ_SEED")
"""Set by ``make fuzz-sessions``; without it the examples are the same in every run."""

Lifecycle = Literal["transaction", "stream"]

_steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(STEPS),
        who=st.sampled_from((0, 1)),
        waits=st.sampled_from((True, True, False)),
        where=st.sampled_from(("here", "outside", "kept")),
        heard=st.sampled_from(HEARD),
    ),
    min_size=1,
    max_size=8,
)


def held(
    lifecycle: Lifecycle, kinds: Sequence[str], steps: Sequence[Step], *, settles: bool
) -> None:
    """Hold these sessions, and check what arrives of them."""
    with capture(lifecycle=lifecycle, send_content=True) as captured:

        async def play() -> None:
            async with asyncio.timeout(40):
                await hold(kinds, steps, settles=settles)

        asyncio.run(play())
        # LiveKit ends a session that is being handed over before it ends the handover
        assert len(complete(captured, cut_off=OP_HANDOFF)) == len(kinds)


def _at_random(test: Callable[..., None]) -> Callable[..., None]:
    drawn = given(
        lifecycle=st.sampled_from(("transaction", "stream")),
        kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=2),
        steps=_steps,
        settles=st.booleans(),
    )(test)
    chosen = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=SEED is None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(drawn)
    return seed(int(SEED))(chosen) if SEED else chosen


@pytest.mark.timeout(600)
@_at_random
def test_sessions_at_random(
    lifecycle: Lifecycle, kinds: list[str], steps: list[Step], settles: bool
) -> None:
    """History and trace agree, and nothing is orphaned, late or left open."""
    held(lifecycle, kinds, steps, settles=settles)


_at_once = partial(Step, waits=False)
FOUND: Final[dict[str, tuple[list[str], list[Step]]]] = {
    "the next turn begins while the agent is asked about this one": (
        ["pipeline"],
        [_at_once("named"), _at_once("tool that speaks")],
    ),
    "a reply made of the next turn's first words": (
        ["made ahead"],
        [_at_once("hook that speaks"), Step("broken tool"), Step("stopped")],
    ),
    "typed to a realtime model, in a task of another session": (
        ["own ear", "made ahead"],
        [Step("typed in a room", who=1, where="outside"), Step("typed in a room", who=0)],
    ),
    "hung up in the middle of a handover": (
        ["pipeline"],
        [Step("handed over"), Step("stopped", where="outside")],
    ),
    "typed while the caller speaks": (
        ["made ahead"],
        [
            _at_once("tool that speaks"),
            Step("typed in a room", where="outside"),
            Step("handed over"),
            _at_once("hook that speaks"),
            Step("noise"),
            _at_once("typed"),
        ],
    ),
    "declined while a reply is being made": (
        ["made ahead"],
        [
            _at_once("hook that speaks"),
            Step("paused"),
            Step("hook that speaks"),
            _at_once("failed hook"),
            Step("handed over"),
            Step("hook that speaks"),
        ],
    ),
}
"""Sequences that failed once, by what was wrong."""


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
@pytest.mark.parametrize("what", FOUND)
def test_sessions_that_have_failed(lifecycle: Lifecycle, what: str) -> None:
    """They stay mended."""
    kinds, steps = FOUND[what]
    held(lifecycle, kinds, steps, settles="middle" not in what)
