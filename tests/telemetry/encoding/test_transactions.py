"""Past the SDK's serialiser: a transaction's spans join it in ``before_send_transaction``."""

from __future__ import annotations

from typing import Any

from sentry_sdk.scrubber import EventScrubber

import telemetry
from telemetry.encoding import transactions
from telemetry.testing import capture


def test_the_sdk_serialises_no_span() -> None:
    """What the SDK works on has no spans, whose serialising stalls; what is sent has them all."""
    worked_on: list[int] = []

    def processor(event: Any, hint: Any) -> Any:
        if event.get("type") == "transaction":
            worked_on.append(len(event["spans"]))
        return event

    with capture() as captured, telemetry.conversation("host") as conversation:
        conversation.isolation.add_event_processor(processor)
        telemetry.span("gen_ai.chat").finish()
        conversation.close()
        [event] = captured.transactions
    assert worked_on == [0]
    assert [span["op"] for span in event["spans"]] == ["gen_ai.chat"]


def test_an_applications_own_hook_sees_the_whole_event() -> None:
    """``before_send_transaction`` may look at the spans, change them, and drop the event."""

    def hook(event: Any, hint: Any) -> Any:
        event["spans"] = [span for span in event["spans"] if span["op"] != "db.query"]
        return event if event["spans"] else None

    with capture(before_send_transaction=hook) as captured:
        with telemetry.conversation("kept"):
            telemetry.span("db.query").finish()
            telemetry.span("gen_ai.chat").finish()
        with telemetry.conversation("dropped"):
            telemetry.span("db.query").finish()
        [event] = captured.transactions
    assert captured.tree(event) == "conversation kept\n└─ gen_ai.chat"


def test_the_scrubber_applies_to_spans() -> None:
    """What its deny list names never leaves, at any depth when it is recursive."""
    attributes = {"Password": "p", "arguments": {"token": "t", "party": 4}, "list": [{"mine": 1}]}
    for scrubber, expected in (
        (None, {"Password": "[Filtered]", "arguments": {"token": "t", "party": 4}}),
        (EventScrubber(recursive=True), {"arguments": {"token": "[Filtered]", "party": 4}}),
        (EventScrubber(denylist=["mine"], recursive=True), {"list": [{"mine": "[Filtered]"}]}),
    ):
        with capture(event_scrubber=scrubber) as captured:
            with telemetry.conversation("host"):
                telemetry.span("gen_ai.chat", attributes=attributes).finish()
            [event] = captured.transactions
        sent = event["spans"][0]["data"]
        assert {name: sent[name] for name in expected} == expected


def test_an_event_has_the_same_id_whoever_makes_it() -> None:
    """A conversation's, a part's and a late span's follow from what they hold."""
    with capture() as captured:
        with telemetry.conversation("host") as conversation:
            spans = [conversation.start_span("work") for _ in range(2)]
        late = conversation.start_span("late")
        late.finish()
        [event, late_event] = captured.transactions
        again = transactions.transaction_event(conversation, [], content=False)
        encoded = [transactions.encode_span(conversation, span, content=False) for span in spans]
        parts = [transactions.part_event(conversation, encoded) for _ in range(2)]
    assert event["event_id"] == again["event_id"]
    assert (
        late_event["event_id"]
        == transactions.late_event(conversation, late, content=False)["event_id"]
    )
    assert parts[0]["event_id"] == parts[1]["event_id"]
    assert parts[0]["contexts"]["trace"]["span_id"] == parts[1]["contexts"]["trace"]["span_id"]
    assert len({each["event_id"] for each in (event, late_event, parts[0])}) == 3
