"""The page of two runs side by side."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from telemetry.viewer.runs_compared import WIDTH, rows

from .runs import runs
from .stored import store, viewed

if TYPE_CHECKING:
    from pathlib import Path


def told(text: str, heading: str) -> list[str]:
    """The first column of the table below a heading."""
    below = text.partition(f"<h2>{heading}</h2>")[2].partition("</table>")[0]
    return re.findall(r'<th scope="row">(.*?)</th>', below)


def test_a_slower_stage_is_named_with_its_interval(tmp_path: Path) -> None:
    """What differs is told from what doesn't; other words and traces are there, too."""
    with viewed(store(tmp_path / "a.db"), runs=runs()) as client:
        text = client.get("/compare").text
    assert told(text, "Latency that differs")[:2] == ["response", "synthesis"]
    assert told(text, "Latency that is the same") == ["llm"]
    assert "+135 ms" in text
    assert "<del>For four?</del>" in text
    assert "<ins>call &gt; turn &gt; tool</ins>" in text
    assert "b.json" in text


def test_two_runs_of_one_program_do_not_differ(tmp_path: Path) -> None:
    """The page says so."""
    with viewed(store(tmp_path / "a.db"), runs=runs(slower_ms=0.0)) as client:
        text = client.get("/compare").text
    assert "No difference" in text
    assert told(text, "Latency that differs") == []


def test_what_runs_say_is_text(tmp_path: Path) -> None:
    """Scenarios and words are escaped, and turn nothing around."""
    with viewed(store(tmp_path / "a.db"), runs=runs(hostile=True)) as client:
        text = client.get("/compare").text
    assert "<img src=x" not in text
    assert "\u202e" not in text


def test_without_runs_the_page_says_how_to_give_them(tmp_path: Path) -> None:
    """The command, as it is typed."""
    with viewed(store(tmp_path / "a.db")) as client:
        assert "parley viewer --compare A.json B.json" in client.get("/compare").text


def test_intervals_are_drawn_on_one_scale() -> None:
    """0 is in the middle, and the farthest end at an edge."""
    drawn = rows(runs().found.news)
    assert all(0 <= row.low <= row.shift <= row.high <= WIDTH for row in drawn)
    assert max(row.high for row in drawn) == WIDTH
    assert min(row.low for row in drawn) > WIDTH / 2
    assert rows([]) == []
