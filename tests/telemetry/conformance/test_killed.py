"""Processes that are killed while they hold conversations: the next start delivers them.

``make kills`` does more of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from .killed import kill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("away", [False, True], ids=["", "away"])
@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
def test_a_process_that_is_killed_loses_nothing(
    tmp_path: Path, lifecycle: Literal["transaction", "stream"], away: bool
) -> None:
    """Of what had ended a second before; each conversation is sent under one id. With Sentry away,
    too: what waits then is sent when it is back."""
    found = kill(2, lifecycle, tmp_path, away=away, seed=17)
    assert found.conversations
    assert found.is_well, found
