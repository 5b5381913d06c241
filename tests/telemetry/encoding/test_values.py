"""Attributes as Sentry gets them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry.attributes import CUT
from telemetry.store import TraceStore
from telemetry.testing.segments import transactions_of
from tests.ingest import Ingest

from ..conformance.whole import LIFECYCLES

if TYPE_CHECKING:
    from pathlib import Path

    from ..conformance.whole import Lifecycle


@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_what_is_too_long_for_sentry_is_cut_and_says_so(
    lifecycle: Lifecycle, tmp_path: Path
) -> None:
    """The longest values only, of a root and of a span; the local store has all of them."""
    path = tmp_path / "traces.db"
    big = {"long": "x" * 2_000_000, "list": ["y" * 100] * 250, "short": "kept", "number": 7}
    with Ingest() as ingest:
        with (
            telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle, store=path, send_content=True),
            telemetry.conversation("host", id="c-1", attributes=big),
        ):
            telemetry.span("work", attributes=big).finish()
        [event] = ingest.transactions + transactions_of(ingest.spans)
    for data in (event["contexts"]["trace"]["data"], event["spans"][0]["data"]):
        assert data[CUT] == ["long"]
        assert len(data["long"]) < 150_000
        assert (data["short"], data["number"]) == ("kept", 7)
    assert len(json.dumps(event)) < 1_000_000
    stored = TraceStore(path).conversation("c-1")
    assert stored is not None
    assert [len(span.attributes["list"]) for span in stored.spans] == [250] * 2
    assert [len(span.attributes["long"]) for span in stored.spans] == [2_000_000] * 2
