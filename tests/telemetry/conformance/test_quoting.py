"""Whoever quotes a caller, in whatever way: not a word is sent, and the operator sees the rest.

The bytes that would go over the wire are searched, decoded in each way that words are encoded in.
"""

from __future__ import annotations

import html
import json
import re
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

import pytest
import sentry_sdk

import telemetry
from telemetry.attributes import USER_WORDS
from telemetry.store import TraceStore
from telemetry.testing import capture

from .quoting import FAILING, MEMBERS, spoken

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.testing import Captured

    from .whole import Lifecycle

SAID: Final = " ".join(("violet", "tulipan"))  # nowhere in what is sent of the source
EVERY: Final = sorted(MEMBERS)


def found_in(envelopes: list[bytes]) -> list[str]:
    """What of the words is in these bytes."""
    sent = b"\n".join(envelopes).decode()
    views = [sent]
    for decode in (_unescaped, urllib.parse.unquote_plus, html.unescape, _unescaped):
        views.append(decode(views[-1]))
    shown = "\n".join(views).casefold()
    return sorted({one for one in spoken(SAID) if one.casefold() in shown})


def _unescaped(text: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)


def sent_errors(captured: Captured) -> list[dict[str, Any]]:
    """The errors as they are sent."""
    events = []
    for envelope in captured.envelopes:
        lines = envelope.split(b"\n")
        if json.loads(lines[1])["type"] == "event":
            events.append(json.loads(lines[2]))
    return events


CHOSEN: Final = {"sets_tags", "checks_in", "logs_in_a_logger_of_its_name"}
"""Those whose words are names: one short word is left, unless it is known to have been said."""


@pytest.mark.parametrize(
    ("name", "recorded"),
    [(name, True) for name in EVERY] + [(name, False) for name in EVERY if name not in CHOSEN],
)
def test_not_a_word_is_sent(lifecycle: Lifecycle, name: str, *, recorded: bool) -> None:
    """Whether or not the conversation has noted what was said."""
    options: dict[str, Any] = {"enable_logs": True, "auto_enabling_integrations": False}
    attributes = {USER_WORDS: f"My name is {SAID}."} if recorded else {}
    with capture(strict=False, lifecycle=lifecycle, **options) as captured:
        with (
            telemetry.conversation("host", user={"id": "u1"}, tags={"tenant": "acme"}),
            telemetry.span("conversation.turn", "turn", attributes=attributes),
        ):
            MEMBERS[name](SAID)
        assert found_in(captured.envelopes) == []
        assert captured.envelopes
        assert all(map(_has_a_place_in_a_trace, sent_errors(captured)))


@pytest.mark.parametrize("name", sorted(FAILING))
def test_the_operator_sees_what_failed_and_where(
    lifecycle: Lifecycle, tmp_path: Path, name: str
) -> None:
    """Type, place, stage and trace, and by the event's id all the rest in the store."""
    path = tmp_path / "traces.db"
    with capture(lifecycle=lifecycle, store=path) as captured:
        with (
            telemetry.conversation("host", id="c-1", user={"id": "u1"}) as conversation,
            telemetry.span("conversation.turn", "turn") as turn,
        ):
            MEMBERS[name](SAID)
        [error] = sent_errors(captured)
        [whole] = captured.errors
    assert error["contexts"]["trace"]["trace_id"] == conversation.trace_id
    assert error["contexts"]["trace"]["span_id"] == turn.id
    assert error["user"] == {"id": "u1"}
    kept = whole["exception"]["values"]
    assert [one["type"] for one in error["exception"]["values"]] == [one["type"] for one in kept]
    frames = error["exception"]["values"][-1]["stacktrace"]["frames"]
    assert name in {frame["function"] for frame in frames}
    assert all(frame["lineno"] and frame["abs_path"] for frame in frames)
    [stored] = TraceStore(path).errors_by_event(error["event_id"])
    assert stored.conversation == "c-1"
    assert [one["value"] for one in stored.event["exception"]["values"]] == [
        one["value"] for one in kept
    ]


def _has_a_place_in_a_trace(error: dict[str, Any]) -> bool:
    trace = error["contexts"]["trace"]
    return bool(trace["trace_id"] and trace["span_id"])


def test_what_code_says_is_sent(lifecycle: Lifecycle) -> None:
    """Literals of the code: names, messages, and templates without what they are filled with."""
    with capture(lifecycle=lifecycle, enable_logs=True) as captured:
        with telemetry.conversation("host"), telemetry.span("app.lookup", "look up a guest"):
            sentry_sdk.set_tag("stage", "lookup")
            for fail in (_by_a_literal, _by_a_template, _by_its_type):
                try:
                    fail(SAID)
                except Exception as error:  # noqa: BLE001 - whatever it is
                    sentry_sdk.capture_exception(error)
        sent = b"\n".join(captured.envelopes).decode()
        values = [error["exception"]["values"][-1]["value"] for error in sent_errors(captured)]
    assert values == [
        "the kitchen is closed",
        "no table for [Filtered], sorry",
        "[Errno 2] No such file or directory",
    ]
    assert '"look up a guest"' in sent
    assert '"app.lookup"' in sent
    assert all(error["tags"]["stage"] == "lookup" for error in sent_errors(captured))


def _by_a_literal(_: str) -> None:
    raise ValueError("the kitchen is closed")


def _by_a_template(said: str) -> None:
    raise ValueError(f"no table for {said}, sorry")


def _by_its_type(said: str) -> None:
    open(f"/nowhere/{said}").close()


def test_what_the_operator_allows_is_sent_and_searched(lifecycle: Lifecycle) -> None:
    """Attributes by name or beginning, errors by type; without what the conversation has noted."""
    given: dict[str, Any] = {
        "send_attributes": ["app.*", "note", "context.order.number", "user.email"],
        "send_errors": ["LookupError"],
    }
    facts = {USER_WORDS: f"I am {SAID}", "app.seats": 4, "app.guest": SAID, "other": 5}
    with capture(lifecycle=lifecycle, **given) as captured:
        with telemetry.conversation("host", user={"id": "u1", "email": "a@b.example", "name": "A"}):
            sentry_sdk.set_context("order", {"number": 7, "other": 8})
            with telemetry.span("app.lookup", attributes=facts):
                sentry_sdk.set_extra("note", f"for {SAID} at seven")
                sentry_sdk.capture_exception(KeyError(f"no guest {SAID} at seven"))
        sent = b"\n".join(captured.envelopes)
        [error] = sent_errors(captured)
    assert error["exception"]["values"][0]["value"] == "'no guest [Filtered] at seven'"
    assert error["extra"] == {"note": "for [Filtered] at seven"}
    assert error["contexts"]["order"] == {"number": 7}
    assert error["user"] == {"id": "u1", "email": "a@b.example"}
    assert b'"app.seats"' in sent
    assert b'"other"' not in sent
    assert found_in([sent]) == []


def test_one_callers_breadcrumbs_are_on_nobody_elses_error(lifecycle: Lifecycle) -> None:
    """Nor are those of the process, whoever's they are."""
    with capture(lifecycle=lifecycle) as captured:
        sentry_sdk.add_breadcrumb(message="of the process")
        with telemetry.conversation("ada"):
            sentry_sdk.add_breadcrumb(message="of Ada's")
        with telemetry.conversation("bob"):
            sentry_sdk.add_breadcrumb(message="of Bob's")
            sentry_sdk.capture_message("failed", level="error")
        [error] = captured.errors
    assert [crumb["message"] for crumb in error["breadcrumbs"]["values"]] == ["of Bob's"]


def test_an_operators_hook_is_given_no_words(lifecycle: Lifecycle) -> None:
    """Of a conversation: what such a hook does with them is out of our hands."""
    seen: list[Any] = []

    def look(event: Any, _: Any) -> Any:
        seen.append(str(event))
        return event

    hook = "before_send_span" if lifecycle == "stream" else "before_send_transaction"
    given: dict[str, Any] = {hook: look}
    with capture(lifecycle=lifecycle, **given) as captured:
        with telemetry.conversation("host", attributes={USER_WORDS: SAID}):
            pass
        assert captured.transactions
    assert seen
    assert SAID not in "".join(seen)
