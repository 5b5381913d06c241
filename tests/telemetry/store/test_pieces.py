"""Long texts: each piece is stored once, and what is read is what was written."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from telemetry.store import TraceStore
from telemetry.store.pieces import LONG

from .rows import conversation, span

if TYPE_CHECKING:
    from pathlib import Path

TURNS = 120
SAID = 4_000
"""Characters of a turn."""


def test_a_history_is_stored_once(tmp_path: Path) -> None:
    """However many requests repeat it, and however many spans record each."""
    path = tmp_path / "traces.db"
    history: list[dict[str, str]] = []
    texts = []
    with closing(TraceStore(path)) as store:
        store.close_conversation(conversation())
        for turn in range(TURNS):
            history.append({"role": "user", "content": f"{turn} ".ljust(SAID, "x")})
            texts.append(json.dumps(history))
            attributes = {"gen_ai.input.messages": texts[-1]}
            twice = [span(2 * turn + each, attributes=attributes) for each in (1, 2)]
            store.add_spans("a" * 32, "c-1", twice)
        read = store.conversation("c-1")
    assert read is not None
    assert [one.attributes["gen_ai.input.messages"] for one in read.spans[1::2]] == texts
    assert sum(map(len, texts)) > 25_000_000
    assert path.stat().st_size < 3_000_000


@pytest.mark.parametrize(
    "text",
    [
        "x" * LONG,
        "[" + "{}, " * LONG + "{}]",
        '"},{" }, {' * LONG,
        "ü\ud800]\n,\t[" * LONG,
        json.dumps([[1, 2], {"a": [{"b": "c" * LONG}, {"b": "c" * LONG}]}]),
    ],
)
def test_any_text_is_the_same_again(tmp_path: Path, text: str) -> None:
    """Letter by letter, whatever is in it; but for half of a surrogate pair."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        record = conversation()
        spans = (replace(record.spans[0], attributes={"long": text, "short": "x"}),)
        store.close_conversation(replace(record, spans=spans))
        read = store.conversation("c-1")
    assert read is not None
    expected = text.encode("utf-8", "replace").decode()
    assert {**read.spans[0].attributes} == {"long": expected, "short": "x"}
