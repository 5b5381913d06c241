"""What killed processes left: closed, taken over once, and read to be sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from telemetry.store import Lease, Owed, SpanRow, TraceStore, lost, rows, unsent

from .rows import ROOT, START, conversation, opened, span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEAD = 7


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    """A store in which a process has left an open conversation."""
    made = TraceStore(tmp_path / "traces.db")
    running = replace(opened(conversation()), spans=(span(0, span_id=ROOT),))
    with made.writing() as cursor:
        cursor.execute("INSERT INTO process VALUES (?, 1, '', '', 0, ?, 1)", (DEAD, START + 5))
        key = rows.put_conversation(
            cursor,
            running,
            ended_at=None,
            process=DEAD,
            owed=Owed.BY_ITS_PROCESS,
            facts='{"streaming": true}',
        )
        rows.put_spans(
            cursor,
            key,
            [
                SpanRow(running.spans[0], is_open=True, code=("gen_ai.chat", "reply [Filtered]")),
                SpanRow(span(1), code=("gen_ai.chat", "reply 1")),
                SpanRow(span(2), is_open=True),
                SpanRow(span(3), code=("gen_ai.chat", "reply 3")),
            ],
        )
        rows.put_handed(cursor, key, ["0" * 15 + "1"])
    yield made
    made.close()


def test_closed_at_the_last_sign_of_life(store: TraceStore) -> None:
    """As aborted, with all that was recorded; what was open in it ends there, too."""
    with store.writing() as cursor:
        assert lost.take_over(cursor, [DEAD], Lease().renew(cursor)) == 1
    read = store.conversation("c-1")
    assert read is not None
    assert (read.status, read.ended_at) == ("aborted", START + 5)
    assert [(one.status, one.ended_at - START) for one in read.spans] == [
        ("aborted", 5),
        ("ok", 2),
        ("aborted", 5),
        ("ok", 4),
    ]


def test_taken_over_once(store: TraceStore) -> None:
    """Of two that look, the first has it; both know what is in an envelope already."""
    with store.writing() as cursor:
        mine, others = Lease().renew(cursor), Lease().renew(cursor)
        unsent.put(cursor, DEAD, [])
        lost.take_over(cursor, [DEAD], mine)
        assert lost.take_over(cursor, [DEAD], others) == 0
        assert (lost.owed_by(cursor, mine), lost.owed_by(cursor, others)) == (1, 0)
        left = lost.next_left(cursor, mine)
        assert left is not None
        assert left.facts == {"streaming": True}
        assert [(one.record.name, one.code) for one in left.spans] == [
            ("reply 0", ("gen_ai.chat", "reply [Filtered]")),
            ("reply 2", None),
            ("reply 3", ("gen_ai.chat", "reply 3")),
        ]
        lost.sent(cursor, left)
        assert lost.next_left(cursor, mine) is None


def test_who_cannot_send_leaves_it_to_who_can(store: TraceStore) -> None:
    """It is closed at once, and sent by whoever comes with a DSN."""
    with store.writing() as cursor:
        lost.take_over(cursor, [DEAD], None)
        mine = Lease().renew(cursor)
        lost.take_over(cursor, [], mine)
        assert lost.owed_by(cursor, mine) == 1


def test_a_key_is_of_one_file(store: TraceStore, tmp_path: Path) -> None:
    """Who has taken a conversation over may note that it is sent in another file: the store was
    moved away meanwhile. Another conversation has its key there, and is still to be sent."""
    with store.writing() as cursor:
        mine = Lease().renew(cursor)
        lost.take_over(cursor, [DEAD], mine)
        left = lost.next_left(cursor, mine)
    assert left is not None
    anew = TraceStore(tmp_path / "anew.db")
    other = replace(conversation(), id="c-2", trace_id="f" * 32)
    with anew.writing() as cursor:
        key = rows.put_conversation(
            cursor, other, ended_at=None, process=mine, owed=Owed.BY_ITS_PROCESS
        )
        assert key == left.key
        lost.sent(cursor, left)
        lost.take_over(cursor, [mine], DEAD)
        assert lost.owed_by(cursor, DEAD) == 1
    anew.close()
