"""Long parts of ``python -m tests.bench``, in small: they measure, and nobody is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bench import away, live, moods

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.timeout(240, func_only=True), pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_sentry_is_away_and_the_process_is_killed(tmp_path: Path) -> None:
    """What waited in the store is sent once Sentry is back, also what a killed process left."""
    found = await away.run(tmp_path, 8.0, killed=True, sessions=6, longest_call=2.0)
    assert found.waited > 0
    assert found.account.recovered > 0
    assert found.seconds < away.GIVE_UP_SECONDS
    assert (found.account.lost, found.dropped) == ([], {})


async def test_each_mood_is_measured_beside_healthy_times(tmp_path: Path) -> None:
    """Lag is there of each, and one healthy time more than moods."""
    found = await moods.run(tmp_path, 0.5, sessions=4, rounds=1)
    rounds = {name: len(each) for name, each in found.items()}
    assert rounds.pop("healthy") == len(moods.MOODS) + 1
    assert rounds == dict.fromkeys(moods.MOODS, 1)


def test_a_call_and_its_span_are_seen_while_it_is_held() -> None:
    """The viewer lists a call of another process, and has its span, before it ends."""
    assert [figure.unit for figure in live.measure(2)] == ["ms", "ms"]
