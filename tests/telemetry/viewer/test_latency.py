"""The page of latency: percentiles of answers and stages, and where they differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from telemetry import attributes as names
from telemetry.records import SpanRecord
from telemetry.viewer.latency import Asked, view

from .stored import START, Turn, conversation, store, viewed

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

    from telemetry.viewer.latency import View


def seen(client: TestClient, **asked: str) -> View:
    """The view that is asked for."""
    return view(client.app.state.index, Asked(**asked))  # type: ignore[attr-defined]  # Starlette's


def counted(found: View) -> dict[str, tuple[int, float | None]]:
    """Each group, with the number of its answers and their median."""
    return {each.name: (each.count, each.percentiles["p50"]) for each in found.groups}


def test_percentiles_are_over_all_answers(tmp_path: Path) -> None:
    """Nearest rank; of few answers a high one says that it is about the slowest."""
    turns = [Turn(latency=(number + 1) / 100) for number in range(100)]
    with viewed(store(tmp_path / "a.db", conversation(1, turns))) as client:
        whole = seen(client).whole
        assert whole.count == 100
        assert whole.percentiles == {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
        assert not whole.is_few("p99")
    with viewed(store(tmp_path / "b.db", conversation(1, turns[:19]))) as client:
        whole = seen(client).whole
        assert [name for name in whole.percentiles if whole.is_few(name)] == ["p95", "p99"]


def test_each_stage_has_its_own(tmp_path: Path) -> None:
    """Over the answers that had it, in the order in which they occur."""
    turns = [
        Turn(latency=1.0, stages={"llm": 0.6, "endpointing": 0.4}),
        Turn(latency=1.2, stages={"llm": 0.8, "tools": 0.1, "endpointing": 0.3}),
    ]
    with viewed(store(tmp_path / "a.db", conversation(1, turns))) as client:
        found = seen(client, of="llm")
        assert [(each.name, each.count) for each in found.stages] == [
            ("endpointing", 2),
            ("llm", 2),
            ("tools", 1),
        ]
        assert found.whole.percentiles["p50"] == 0.6
        text = client.get("/latency?of=llm").text
    assert "600 ms" in text


def test_answers_are_told_apart_by_what_served_them(tmp_path: Path) -> None:
    """Scenario, provider, model, tag and release; one group can be looked at alone."""
    works = [
        SpanRecord(
            span_id=f"a{number:015}",
            parent_span_id="f" * 16,
            op=op,
            name="work",
            started_at=START,
            ended_at=START + 1,
            attributes={names.GEN_AI_REQUEST_MODEL: model, names.GEN_AI_PROVIDER_NAME: provider},
        )
        for number, (op, model, provider) in enumerate(
            [(names.OP_CHAT, "small-1", "openai"), (names.OP_TTS, "joe", "piper")]
        )
    ]
    fast = [Turn(latency=0.4, models=("small-1", "joe")), Turn(latency=0.6, models=("small-1",))]
    slow = [Turn(latency=2.0, models=("large-2",))]
    written = store(
        tmp_path / "a.db",
        conversation(1, fast, spans=works, tags={"voice": "joe"}),
        conversation(1, op=names.OP_CALLER, name="booking", id="caller"),
        conversation(2, slow),
    )
    with viewed(written) as client:
        assert counted(seen(client, by="scenario")) == {"booking": (2, 0.4), "none": (1, 2.0)}
        assert counted(seen(client, by="model")) == {
            "small-1": (2, 0.4),
            "joe": (1, 0.4),
            "large-2": (1, 2.0),
        }
        assert counted(seen(client, by="provider")) == {
            "openai": (2, 0.4),
            "piper": (1, 0.4),
            "none": (1, 2.0),
        }
        assert counted(seen(client, by="tag:voice")) == {"joe": (2, 0.4), "none": (1, 2.0)}
        assert counted(seen(client, by="release")) == {"none": (3, 0.6)}
        assert seen(client, by="model", only="large-2").whole.percentiles["p50"] == 2.0
        assert seen(client).tags == ["voice"]
        assert "Only tag voice" in client.get("/latency?by=tag:voice&only=joe").text


def test_what_is_in_two_stores_counts_once(tmp_path: Path) -> None:
    """As when one is given twice."""
    written = store(tmp_path / "a.db", conversation(1, [Turn(latency=0.5)]))
    with viewed(written, written) as client:
        assert seen(client).whole.count == 1


def test_time_can_be_narrowed(tmp_path: Path) -> None:
    """What is older isn't in it; the page says how to see all of it."""
    with viewed(store(tmp_path / "a.db", conversation(-99_999, [Turn(latency=0.5)]))) as client:
        assert seen(client, since="week").whole.count == 0
        assert "Look at all of them" in client.get("/latency?since=week").text
        assert seen(client).whole.count == 1


@pytest.mark.parametrize(
    "query", ["", "?of=nothing&by=x&since=y", "?by=tag:<b>&only=<script>", "?of=tools"]
)
def test_every_address_is_a_page(tmp_path: Path, query: str) -> None:
    """With nothing to measure, with hostile names, with one answer only."""
    with viewed(store(tmp_path / "a.db")) as client:
        assert "No answer yet" in client.get(f"/latency{query}").text
    hostile = conversation(
        1, [Turn(latency=0.0, models=("<script>",))], tags={"<b>": "<script>alert(1)"}
    )
    with viewed(store(tmp_path / "b.db", hostile)) as client:
        answer = client.get(f"/latency{query}")
    assert answer.status_code == 200
    assert not re.search(r"<script(?! type=\"module\" src)", answer.text)
    assert "<b>" not in answer.text
