"""What is too large for Sentry arrives cut, and says so; nothing else is touched."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry
from telemetry.attributes import CUT
from telemetry.encoding.fitting import fit_event, fit_log
from telemetry.encoding.values import size_of
from telemetry.testing.segments import transactions_of
from tests.ingest import Ingest

from ..conformance.whole import LIFECYCLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..conformance.whole import Lifecycle

app = logging.getLogger("app")
MOST_BYTES = 100_000
LONG = [
    pytest.param("word " * 400_000, id="text"),
    pytest.param("wörd 🙂 " * 100_000, id="text of many alphabets"),
    pytest.param(["word"] * 400_000, id="list"),
    pytest.param({str(number): number for number in range(200_000)}, id="dict"),
    pytest.param({"a": {"b": ["word " * 100_000] * 5}}, id="nested"),
    pytest.param([{"a": "word"}] * 100_000, id="list of dicts"),
]


@pytest.mark.parametrize("long", LONG)
def test_an_event_is_cut_at_its_longest_values(long: Any) -> None:
    """It keeps the beginning of them, and what is short as it is."""
    event: dict[str, Any] = {
        "event_id": "1",
        "contexts": {"big": {"long": long}, "small": {"number": 7}},
        "extra": {"short": "kept" * 10},
        "spans": [{"data": {"text": "x" * 200_000}}],
    }
    short = json.loads(json.dumps({**event, "contexts": {"small": {"number": 7}}}))
    fit_event(event, MOST_BYTES)

    big = event["contexts"].pop("big")["long"]
    assert MOST_BYTES // 2 < size_of(big) <= MOST_BYTES
    assert type(big) is type(long)
    noted = event.pop("_meta")["contexts"]["big"]["long"]
    assert noted
    assert event == short


def test_a_list_of_many_long_values_is_shortened_as_a_whole() -> None:
    """Cut to their shortest, its members would still be too many."""
    event: dict[str, Any] = {"extra": {"many": ["word " * 300] * 1_000}}
    fit_event(event, MOST_BYTES)
    assert size_of(event["extra"]) <= MOST_BYTES
    assert event["_meta"]["extra"]["many"][""] == {"len": 1_000}


def test_what_fits_is_left_as_it_is() -> None:
    """Neither cut nor noted."""
    event: dict[str, Any] = {"event_id": "1", "extra": {"text": "x" * 50_000}}
    fit_event(event, MOST_BYTES)
    assert event == {"event_id": "1", "extra": {"text": "x" * 50_000}}


def test_a_log_names_what_was_cut() -> None:
    """It has no ``_meta``."""
    log: dict[str, Any] = {
        "body": "x" * 200_000,
        "attributes": {
            "long": {"value": "y" * 200_000, "type": "string"},
            "short": {"value": "kept", "type": "string"},
        },
    }
    fit_log(log, MOST_BYTES)
    assert size_of(log) <= MOST_BYTES + 100
    assert set(log["attributes"][CUT]["value"]) == {"body", "long"}
    assert log["attributes"]["short"]["value"] == "kept"


# -- delivered -------------------------------------------------------------------------------------


def _context(long: Any) -> None:
    sentry_sdk.set_context("big", {"long": long})


def _extra(long: Any) -> None:
    app.error("failed", extra={"long": long})


def _message(long: Any) -> None:
    app.error("failed: %s", long)


def _exception(long: Any) -> None:
    sentry_sdk.capture_exception(ValueError(long))


def _breadcrumbs(long: Any) -> None:
    for _ in range(20):
        sentry_sdk.add_breadcrumb(message="crumb", data={"long": long})
    app.error("failed")


@pytest.mark.parametrize("say", [_context, _extra, _message, _exception, _breadcrumbs])
@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_megabytes_cost_no_conversation_and_no_error(
    lifecycle: Lifecycle, say: Callable[[Any], None]
) -> None:
    """Sentry, which refuses items of 1 MB, takes all of them, and what others said meanwhile."""
    with Ingest() as ingest:
        given: dict[str, Any] = {"enable_logs": True, "send_content": True}
        with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle, **given) as runtime:
            with telemetry.conversation("host"), telemetry.span("work"):
                say("word " * 400_000)
                app.error("another")
            runtime.flush()
            assert runtime.stats().dropped == {}
        [event] = ingest.transactions + transactions_of(ingest.spans)
        assert [span["op"] for span in event["spans"]] == ["work"]
        errors = len(ingest.errors)
        items = [item.get_bytes() for envelope in ingest.envelopes for item in envelope.items]
    assert errors == (1 if say is _context else 2)
    assert max(map(len, items)) < 1_000_000
    said = any(b"_meta" in item for item in items)
    assert said or (lifecycle == "stream" and say is _context)  # there it is a span's attribute
