"""Tools, agents, services and hooks that quote their caller, each in a way of its own.

``said`` is what the caller said. It comes in as a parameter and stands nowhere in this file.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import html
import json
import logging
import sqlite3
import threading
import urllib.parse
import urllib.request
import warnings
from typing import TYPE_CHECKING, Any

import sentry_sdk
import structlog
from loguru import logger as loguru
from sentry_sdk import logger as sentry_logs
from sentry_sdk import metrics
from sentry_sdk.crons import capture_checkin
from sentry_sdk.envelope import Envelope, Item, PayloadRef

import telemetry
from telemetry import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

app = logging.getLogger("app.tools")

MEMBERS: dict[str, Callable[[str], object]] = {}
"""By name."""
FAILING: set[str] = set()
"""Names of those that end in an error which is reported."""


def member(function: Callable[[str], object]) -> Callable[[str], object]:
    """Add a member."""
    MEMBERS[function.__name__] = function
    return function


def failing(function: Callable[[str], object]) -> Callable[[str], object]:
    """Add one that raises: what it raises is reported."""

    def reported(said: str) -> None:
        try:
            function(said)
        except Exception as error:  # noqa: BLE001 - whatever it is
            sentry_sdk.capture_exception(error)

    FAILING.add(function.__name__)
    MEMBERS[function.__name__] = reported
    return reported


class NoTable(Exception):  # noqa: N818 - as an application names it
    """An error with attributes of its own."""

    def __init__(self, guest: str) -> None:
        super().__init__(guest)
        self.guest = guest
        self.detail = f"{guest} has none"


# -- exceptions ------------------------------------------------------------------------------------


@failing
def raises_an_f_string(said: str) -> None:
    raise ValueError(f"no table for {said}")


@failing
def raises_it_percent_encoded(said: str) -> None:
    raise ValueError(f"GET /guests/{urllib.parse.quote(said)} failed")


@failing
def raises_it_plus_encoded(said: str) -> None:
    raise ValueError(urllib.parse.urlencode({"guest": said}))


@failing
def raises_it_escaped(said: str) -> None:
    raise ValueError("".join(f"\\u{ord(letter):04x}" for letter in said))


@failing
def raises_its_json(said: str) -> None:
    raise ValueError(json.dumps({"guest": {"name": said}}))


@failing
def raises_html_entities(said: str) -> None:
    raise ValueError("".join(f"&#{ord(letter)};" for letter in said) + html.escape(f"<{said}>"))


@failing
def raises_base64(said: str) -> None:
    raise ValueError(base64.b64encode(said.encode()).decode())


@failing
def raises_it_joined(said: str) -> None:
    raise ValueError(f"{said.replace(' ', '_')} {said.replace(' ', '-')} {said.title()}")


@failing
def raises_it_in_camel_case(said: str) -> None:
    raise ValueError(said.title().replace(" ", ""))


@failing
def raises_it_reordered(said: str) -> None:
    raise ValueError(", ".join(reversed(said.split())))


@failing
def raises_each_word_alone(said: str) -> None:
    raise KeyError(said.split()[-1])


@failing
def raises_with_an_earlier_text(said: str) -> None:
    message = "no table for " + said
    raise ValueError(message)


@failing
def is_a_type_with_attributes(said: str) -> None:
    raise NoTable(said)


@failing
def adds_a_note(said: str) -> None:
    error = ValueError("the booking failed")
    error.add_note(f"the guest said {said}")
    raise error


@failing
def chains_exceptions(said: str) -> None:
    try:
        int(said)
    except ValueError as error:
        raise RuntimeError("the party's size is no number") from error


@failing
def groups_exceptions(said: str) -> None:
    raise ExceptionGroup(f"of {said}", [ValueError(said), KeyError(said)])


@failing
def opens_a_file(said: str) -> None:
    open(f"/nowhere/{said}.wav").close()


@failing
def has_a_connection_refused(said: str) -> None:
    raise ConnectionError(f"https://guest:{said}@api.example.com/{said}?q={said}")


@failing
def asks_a_service(said: str) -> None:
    path = urllib.parse.quote(said)
    urllib.request.urlopen(f"guests://127.0.0.1/{path}?q={path}")  # noqa: S310 - it isn't asked


@failing
def reads_json(said: str) -> None:
    json.loads(said)


@failing
def decodes_bytes(said: str) -> None:
    (said.encode() + b"\xff").decode()


@failing
def asserts(said: str) -> None:
    assert said == "", f"unexpected: {said}"


@failing
def reads_an_attribute(said: str) -> None:
    getattr(object(), said)


@failing
def asks_a_database(said: str) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute(f"SELECT * FROM {said.split()[0]}")  # noqa: S608 - that is the case


@failing
def has_it_in_locals(said: str) -> None:
    note, notes = f"note: {said}", [said]
    raise RuntimeError("the notes can't be read", len(note), len(notes))


@member
def captures_what_nobody_raised(said: str) -> None:
    sentry_sdk.capture_exception(ValueError(said))


@member
def captures_by_our_api(said: str) -> None:
    conversation = telemetry.current_conversation()
    assert conversation is not None
    conversation.capture_exception(ValueError(f"{said}!"))


# -- logs ------------------------------------------------------------------------------------------


@member
def logs_arguments(said: str) -> None:
    app.error("no table for %s", said)


@member
def logs_an_f_string(said: str) -> None:
    app.error(f"no table for {said}")


@member
def logs_it_whole(said: str) -> None:
    app.error(said)
    app.error(ValueError(said))


@member
def logs_extra(said: str) -> None:
    app.error("failed", extra={"guest": said, "nested": {"note": [said]}, said.split()[0]: 1})


@member
def logs_an_exception(said: str) -> None:
    try:
        raise NoTable(said)  # noqa: TRY301
    except NoTable:
        app.exception("for %(guest)s", {"guest": said})


@member
def logs_with_loguru(said: str) -> None:
    loguru.error("no table for {}", said)
    loguru.bind(guest=said).error("failed")


@member
def logs_with_structlog(said: str) -> None:
    logger = structlog.wrap_logger(app, processors=[structlog.stdlib.render_to_log_kwargs])
    logger.error(f"no table for {said}", guest=said)
    app.error("no table", stack_info=True, extra={"stack": said})


@member
def logs_to_sentry(said: str) -> None:
    sentry_logs.error("no table for {guest}", guest=said)
    sentry_logs.error(f"no table for {said}", attributes={"guest": said})


@member
def logs_in_a_logger_of_its_name(said: str) -> None:
    logging.getLogger(f"guest.{said}").error("failed")


@member
def warns(said: str) -> None:
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"odd: {said}", stacklevel=1)
    finally:
        logging.captureWarnings(False)


@member
def captures_a_message(said: str) -> None:
    sentry_sdk.capture_message(f"no table for {said}", level="error")


# -- beside an error -------------------------------------------------------------------------------


def _fail() -> None:
    sentry_sdk.capture_exception(RuntimeError("it failed"))


@member
def leaves_breadcrumbs(said: str) -> None:
    sentry_sdk.add_breadcrumb(message=f"heard {said}", category="app", data={"note": [said]})
    sentry_sdk.add_breadcrumb(category="query", message=f"SELECT 1 WHERE name = '{said}'")
    sentry_sdk.add_breadcrumb(
        type="http", category="httplib", data={"url": f"https://a.example/{said}?q={said}"}
    )
    app.info("heard %s", said)
    _fail()


@member
def sets_tags(said: str) -> None:
    sentry_sdk.set_tag("guest", said)
    sentry_sdk.set_tag("joined", said.replace(" ", "_"))
    sentry_sdk.set_tag("one", said.split()[0])
    sentry_sdk.set_tag(said.replace(" ", "."), "x")
    telemetry.current_conversation().set_tag("more", said.title())  # type: ignore[union-attr]
    _fail()


@member
def sets_contexts_and_extra(said: str) -> None:
    sentry_sdk.set_context("order", {"note": said, "card": {"number": said}})
    sentry_sdk.set_extra("note", said)
    _fail()


@member
def sets_a_users_fields(said: str) -> None:
    sentry_sdk.set_user({"id": "u1", "username": said, "email": f"{said}@a.example", "note": said})
    _fail()


@member
def captures_with_more(said: str) -> None:
    error = RuntimeError("it failed")
    sentry_sdk.capture_exception(error, extras={"note": said}, tags={"of": said}, level="fatal")
    sentry_sdk.capture_message("it failed", contexts={"note": {"of": said}}, user={"name": said})


@member
def names_its_transaction(said: str) -> None:
    sentry_sdk.get_current_scope().set_transaction_name(f"call of {said}")
    _fail()
    transaction: Any = sentry_sdk.get_current_scope().span
    if transaction is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            transaction.set_measurement("guests", 1, unit=said)


@member
def sets_a_fingerprint(said: str) -> None:
    with sentry_sdk.new_scope() as scope:
        scope.fingerprint = ["{{ default }}", said]
        _fail()


@member
def attaches_a_file(said: str) -> None:
    with sentry_sdk.new_scope() as scope:
        scope.add_attachment(bytes=said.encode(), filename=f"{said}.txt")
        _fail()


@member
def sends_an_event_of_its_own(said: str) -> None:
    event: Any = {
        "level": "error",
        "logentry": {"message": said, "params": [said]},
        "request": {"url": f"https://a.example/{said}", "data": {"q": said}, "cookies": said},
        "logger": said,
        "culprit": said,
        "message_of": said,
    }
    sentry_sdk.capture_event(event)


@member
def names_threads_and_tasks(said: str) -> None:
    threading.Thread(target=telemetry.bind(_fail), name=f"for {said}")
    thread = threading.Thread(target=telemetry.bind(_fail), name=f"for {said}")
    thread.start()
    thread.join()

    async def run() -> None:
        await asyncio.create_task(asyncio.to_thread(_fail), name=f"for {said}")

    asyncio.run(run())


# -- spans -----------------------------------------------------------------------------------------


@member
def names_spans(said: str) -> None:
    for name in (said, f"look up {said}", said.replace(" ", "_"), said.split()[0]):
        with telemetry.span(names.OP_TOOL, name):
            pass
        with telemetry.span(f"tool.{name}"):
            pass
        with telemetry.span(name):
            pass


@member
def renames_spans(said: str) -> None:
    with telemetry.span(names.OP_TOOL, "look up") as span:
        span.name, span.op = said, said


@member
def sets_attributes(said: str) -> None:
    given = {
        "guest": said,
        said: 1,
        "gen_ai.request.model": said,
        "gen_ai.response.finish_reasons": [said],
        "conversation.response.note": said,
        "lk.note": said,
        "code.function.name": f"f({said})",
        "http.route": f"/guests/{said}",
        "url.full": f"https://{said.split()[0]}:{said}@a.example/{said}?q={said}#{said}",
        "server.address": said,
        "db.query.text": f"SELECT * FROM guest WHERE name = '{said}' -- {said}",  # noqa: S608
        "db.statement": f'SELECT * FROM guest WHERE name = "{said}"',  # noqa: S608
        "http.request.header.x-note": said,
        "error.type": said,
        "thread.name": said,
        "structured": {"note": [said]},
    }
    with telemetry.span(names.OP_TOOL, "look up", attributes=given):
        pass


@member
def sets_statuses(said: str) -> None:
    with telemetry.span(names.OP_TOOL, "look up") as span:
        span.status = said  # type: ignore[attr-defined]
        span.origin = f"auto.{said.replace(' ', '.')}"  # type: ignore[attr-defined]


@member
def asks_in_sql(said: str) -> None:
    for sql in (
        f"SELECT * FROM guest WHERE name = '{said}'",  # noqa: S608
        f'SELECT * FROM guest WHERE name = "{said}"',  # noqa: S608
        f"INSERT INTO guest VALUES (1, '{said}''s', E'{said}\\n')",  # noqa: S608
        f"SELECT * FROM guest WHERE note = $${said}$$",  # noqa: S608
        f"SELECT /* {said} */ 1",
        f"SET 'guest:{said}' 1",
        f"HGET {said}",
    ):
        with telemetry.span(names.OP_DB_QUERY, sql), telemetry.span("db.redis", sql):
            pass


@member
def asks_over_http(said: str) -> None:
    url = f"https://{urllib.parse.quote(said)}@api.example.com:8443/{said}/x?q={said}"
    with telemetry.span("http.client", f"GET {url}"), telemetry.span("websocket.client", url):
        pass


@member
def makes_plain_sentry_spans(said: str) -> None:
    if sentry_sdk.get_client().options["trace_lifecycle"] == "stream":
        with sentry_sdk.traces.start_span(said, {"sentry.op": said, "note": said}):
            pass
    else:
        with sentry_sdk.start_span(op=said, name=said) as span:
            span.set_data("note", said)
            span.set_tag("note", said)
            span.set_status(said)


@member
def renames_the_conversation(said: str) -> None:
    conversation = telemetry.current_conversation()
    assert conversation is not None
    conversation.rename(f"call of {said}")
    _fail()


@member
def opens_a_transaction(said: str) -> None:
    with telemetry.transaction("queue.process", said), telemetry.span(said):
        _fail()


@member
def is_called_late(said: str) -> None:
    conversation = telemetry.current_conversation()
    assert conversation is not None
    conversation.close()
    conversation.start_span(said, said, attributes={"note": said}).finish()
    conversation.capture_exception(ValueError(said))


# -- other items -----------------------------------------------------------------------------------


@member
def counts_metrics(said: str) -> None:
    metrics.count(f"guest.{said}", 1, attributes={"guest": said})
    metrics.gauge("guests", 1, unit=said, attributes={"guest": said})


@member
def checks_in(said: str) -> None:
    capture_checkin(monitor_slug=said.replace(" ", "-"), status="ok")


@member
def sends_feedback_and_more(said: str) -> None:
    client = sentry_sdk.get_client()
    assert client.transport is not None
    envelope = Envelope()
    envelope.add_item(Item(PayloadRef(json={"message": said}), type="feedback"))
    envelope.add_item(Item(PayloadRef(bytes=said.encode()), type="attachment"))
    envelope.add_item(Item(PayloadRef(json={"attrs": said}), type="session"))
    envelope.add_item(Item(PayloadRef(json={"what": said}), type="of tomorrow"))
    envelope.add_item(Item(PayloadRef(json=_profile(said)), type="profile_chunk"))
    envelope.headers["note"] = said
    client.transport.capture_envelope(envelope)


def _profile(said: str) -> dict[str, Any]:
    frame = {"function": f"f({said!r})", "filename": "a.py", "lineno": 1, "vars": {"note": said}}
    threads = {"1": {"name": said}}
    profile = {"frames": [frame], "stacks": [[0]], "samples": [], "thread_metadata": threads}
    return {"profile": profile, "chunk_id": "1", "note": said}


# -- where no conversation is current --------------------------------------------------------------


@member
def fails_in_the_background(said: str) -> None:
    def run() -> None:
        sentry_sdk.add_breadcrumb(message=said, category="process")
        app.error("a job failed: %s", said)
        sentry_sdk.capture_exception(ValueError(said))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@member
def fails_in_a_task_that_nobody_waits_for(said: str) -> None:
    async def job() -> None:
        raise NoTable(said)

    async def run() -> None:
        task = asyncio.create_task(job())
        with contextlib.suppress(NoTable):
            await task
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": said, "exception": NoTable(said), "task": task})

    asyncio.run(run())


def spoken(words: str) -> Iterator[str]:
    """The words in each way that somebody who looks for them would try."""
    yield words
    yield words.title().replace(" ", "")
    yield base64.b64encode(words.encode()).decode().rstrip("=")
    yield urllib.parse.quote(words)
    yield urllib.parse.quote_plus(words)
    for joint in "_-.+":
        yield words.replace(" ", joint)
    yield from words.split()
