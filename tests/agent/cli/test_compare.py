"""``parley compare`` on the terminal, and its limit."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from agent.cli.compare import compare
from agent.errors import InputError
from tests.agent.simulator.test_two_runs import drawn

if TYPE_CHECKING:
    from pathlib import Path


def _files(folder: Path, **more: float) -> tuple[Path, Path]:
    draw = random.Random(19)
    before, after = folder / "a.json", folder / "b.json"
    before.write_text(json.dumps(drawn(draw)))
    after.write_text(json.dumps(drawn(draw, **more)))
    return before, after


def test_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs of one program."""
    assert compare(*_files(tmp_path), "1ms")
    said = capsys.readouterr().out
    assert "No difference in latency beyond noise." in said
    assert said.endswith("No difference.\n")


def test_a_slower_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with its interval; past the limit the command fails, and says why."""
    before, after = _files(tmp_path, synthesis=150.0)
    assert compare(before, after, None)
    assert compare(before, after, "400ms")
    said = capsys.readouterr().out
    assert "synthesis" in said
    assert "No difference" not in said
    assert not compare(before, after, "50ms")
    assert "synthesis is slower than --fail-over 50ms allows" in capsys.readouterr().out
    assert not compare(before, after, "1%")


@pytest.mark.parametrize("limit", ["10", "-5ms", "ten %", "", "5s"])
def test_a_limit_that_is_none(tmp_path: Path, limit: str) -> None:
    """One line, before anything is compared."""
    with pytest.raises(InputError, match="should be like 10% or 50ms"):
        compare(*_files(tmp_path), limit)


def test_nothing_in_common(tmp_path: Path) -> None:
    """There is nothing to say then."""
    before, after = _files(tmp_path)
    after.write_text('{"conversations": []}')
    with pytest.raises(InputError, match="no turn with a response in common"):
        compare(before, after, None)
