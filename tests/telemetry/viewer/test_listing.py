"""The page of conversations: what it shows, how it is filtered, sorted and searched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from telemetry import attributes as names
from telemetry.store import StoredError
from telemetry.viewer.listing import Asked, find

from .stored import START, Turn, conversation, store, viewed

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient


def listed(client: TestClient, query: str = "") -> list[str]:
    """The ids of the conversations on the page, in order."""
    answer = client.get(f"/{query}")
    assert answer.status_code == 200
    return re.findall(r'class="name" href="[^"]*">([^<]*)<', answer.text)


def test_a_row_has_all_the_figures(tmp_path: Path) -> None:
    """Outcome, turns, latency, interruptions, errors, tokens, cost, audio."""
    whole = {
        names.CONVERSATION_OUTCOME: "hung_up",
        names.CONVERSATION_TURNS: 2,
        names.CONVERSATION_INTERRUPTIONS: 1,
        names.USAGE + "input_tokens": 1200,
        names.USAGE + "output_tokens": 34,
        names.USAGE + "cost": 0.0123,
        names.USAGE + "recognized_seconds": 5.4,
        names.USAGE + "synthesized_seconds": 17.2,
    }
    turns = [Turn("a table", "for when?", 0.64), Turn("tonight", "yes", 1.9)]
    seen = store(tmp_path / "a.db", conversation(1, turns, attributes=whole, tags={"tenant": "x"}))
    seen.add_error("c-1", StoredError(f"{1:032x}", None, START + 61, "ValueError", "no"))
    seen.close()
    with viewed(seen) as client:
        text = " ".join(re.sub(r"<[^>]+>", " ", client.get("/").text).split())
    row = text[text.index("Audio ") :]
    assert "c-1 hung up call tenant x" in row
    assert "1:00 2 640 ms 1.90 s 1 1 1,200 → 34 $0.0123 5 + 17 s" in row


def test_a_conversation_that_runs_stands_on_top_with_what_is_known_of_it(tmp_path: Path) -> None:
    """However it is sorted: the sums are those of the turns so far."""
    turn = Turn("hello", "good evening", 0.5, attributes={names.USAGE + "input_tokens": 7})
    running = conversation(1, [turn], ended_at=None, status="open")
    seen = store(tmp_path / "a.db", running, conversation(2), conversation(3))
    with viewed(seen) as client:
        for query in ("", "?sort=started", "?sort=-p95"):
            assert listed(client, query)[0] == "c-1"
        text = client.get("/").text
    assert "running" in text
    assert "500 ms" in text
    assert ">7<" in text


def test_what_begins_and_ends_is_shown_without_being_read_anew(tmp_path: Path) -> None:
    """A viewer that is open shows the next call at its next look."""
    seen = store(tmp_path / "a.db", conversation(1))
    with viewed(seen) as client:
        index = client.app.state.index  # type: ignore[attr-defined]  # Starlette's
        begun = conversation(2, ended_at=None, status="open", spans=())
        seen.open_conversation(begun)
        index.refresh(at_once=True)
        assert listed(client) == ["c-2", "c-1"]
        assert "1 running" in client.get("/rows").text
        seen.close_conversation(conversation(2, [Turn("bye", "bye", 0.7)]))
        assert index.wait(20)
        text = client.get("/rows").text
    assert "running" not in text
    assert "700 ms" in text
    seen.close()


def test_filters_and_sorting_are_in_the_address(tmp_path: Path) -> None:
    """And what an address says that nobody knows is passed over."""
    slow = [Turn("hello", "hi", 2.5)]
    cut = {names.CONVERSATION_INTERRUPTIONS: 2, names.CONVERSATION_OUTCOME: "hung_up"}
    seen = store(
        tmp_path / "a.db",
        conversation(1, [Turn("one", "two", 0.4)]),
        conversation(2, slow),
        conversation(3, attributes=cut),
        conversation(4, status="aborted", attributes={}),
    )
    seen.add_error("c-1", StoredError(f"{1:032x}", None, START + 61, "ValueError", "no"))
    seen.close()
    with viewed(seen) as client:
        assert listed(client) == ["c-4", "c-3", "c-2", "c-1"]
        assert listed(client, "?sort=started") == ["c-1", "c-2", "c-3", "c-4"]
        assert listed(client, "?sort=-p50")[:2] == ["c-2", "c-1"]
        assert listed(client, "?sort=p50")[:2] == ["c-1", "c-2"]
        assert listed(client, "?only=slow") == ["c-2"]
        assert listed(client, "?only=interrupted") == ["c-3"]
        assert listed(client, "?only=errors") == ["c-4", "c-1"]
        assert listed(client, "?only=lost") == ["c-4"]
        assert listed(client, "?outcome=hung_up") == ["c-3"]
        assert listed(client, "?outcome=nothing") == []
        assert len(listed(client, "?only=x&sort=;DROP&page=-1&else=1")) == 4


def test_words_are_found_where_they_were_said(tmp_path: Path) -> None:
    """All of them, in any order, the last one begun; shown where they stand."""
    seen = store(
        tmp_path / "a.db",
        conversation(1, [Turn("I would like a table for four", "For which day?")]),
        conversation(2, [Turn("Do you serve crème brûlée", "We do.")]),
        conversation(3, [Turn("A table?", "None is left.")], user={"id": "ada"}),
    )
    with viewed(seen) as client:
        assert listed(client, "?q=table") == ["c-3", "c-1"]
        assert listed(client, "?q=four+table") == ["c-1"]
        assert listed(client, "?q=creme+bru") == ["c-2"]
        assert listed(client, '?q="for four"') == ["c-1"]
        assert listed(client, '?q="four for"') == []
        assert listed(client, "?q=ada") == ["c-3"]
        assert listed(client, "?q=c-2") == ["c-2"]
        assert "a <mark>table</mark> for" in client.get("/?q=table").text


def test_a_search_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page asks for more words, and the next search is as before."""
    seen = store(tmp_path / "a.db", *(conversation(each, [Turn("a")]) for each in range(20)))
    with viewed(seen) as client:
        with monkeypatch.context() as patched:
            patched.setattr("telemetry.viewer.search.MOST_SECONDS", -1.0)
            text = client.get("/?q=a").text
            assert "Too many hits" in text
            assert "of 20 conversations" in text
            assert len(listed(client)) == 20
        assert len(listed(client, "?q=a")) == 20


@pytest.mark.parametrize(
    "query", ['"', "'", "*", "a AND", "NEAR(", "said:", "^", "%00", "(", "\\", "-", "%ED%A0%80"]
)
def test_no_query_is_an_error(tmp_path: Path, query: str) -> None:
    """What looks like syntax is text."""
    with viewed(store(tmp_path / "a.db", conversation(1, [Turn("a and b", "c")]))) as client:
        assert client.get(f"/?q={query}").status_code == 200


HOSTILE = "<script>alert(1)</script>\u202e\x00\x1b[31m\ud800\"'&"


def test_what_people_said_is_escaped_everywhere(tmp_path: Path) -> None:
    """Markup, directions, control characters and halves of a pair, in every place there is."""
    seen = store(
        tmp_path / "a.db",
        conversation(
            1,
            [Turn(f"findme {HOSTILE}", HOSTILE)],
            id=f"c {HOSTILE}",
            name=HOSTILE,
            status=HOSTILE.encode("utf-8", "replace").decode(),
            tags={HOSTILE: HOSTILE},
            attributes={names.CONVERSATION_OUTCOME: HOSTILE},
        ),
    )
    with viewed(seen) as client:
        for path in ("/", "/?q=findme", "/rows?q=findme", f"/?q={HOSTILE[:25]}", "/health"):
            text = client.get(path).text
            assert "<script>alert" not in text
            assert not {"\u202e", "\x00", "\x1b"} & set(text), path
        assert "<mark>findme</mark>" in client.get("/?q=findme").text


def test_a_services_part_is_listed_where_its_conversation_is_not(tmp_path: Path) -> None:
    """Over several stores; and what is in two of them once."""
    agent = store(tmp_path / "a.db", conversation(1))
    service = store(
        tmp_path / "b.db",
        conversation(1, op="http.server", name="GET /1"),
        conversation(2, op="http.server", name="GET /2"),
    )
    with viewed(agent, service) as client:
        assert listed(client) == ["GET /2", "c-1"]
    with viewed(service, service) as client:
        assert listed(client) == ["GET /2", "GET /1"]


def test_a_scenario_is_the_callers_name_for_the_call(tmp_path: Path) -> None:
    """The caller's own transaction is of the same trace."""
    caller = conversation(1, op=names.OP_CALLER, id="caller", name="barge_in")
    with viewed(store(tmp_path / "a.db", conversation(1), caller)) as client:
        assert "<span>barge_in</span>" in client.get("/").text


def test_pages_follow_each_other(tmp_path: Path) -> None:
    """A hundred conversations on each."""
    seen = store(tmp_path / "a.db", *(conversation(number) for number in range(101)))
    with viewed(seen) as client:
        assert len(listed(client)) == 100
        assert 'rel="next" href="/?page=2"' in client.get("/").text
        assert listed(client, "?page=2") == ["c-0"]
        assert listed(client, "?page=99") == []


def test_what_was_deleted_is_gone(tmp_path: Path) -> None:
    """From the list and from what is found; also where the whole file was replaced."""
    seen = store(tmp_path / "a.db", conversation(1, [Turn("apples")]), conversation(2))
    with viewed(seen) as client:
        index = client.app.state.index  # type: ignore[attr-defined]  # Starlette's
        with seen.writing() as cursor:
            cursor.execute("DELETE FROM conversation WHERE id = 'c-1'")
        assert index.wait(20)
        assert listed(client) == ["c-2"]
        assert listed(client, "?q=apples") == []
        seen.close()
        for path in tmp_path.glob("a.db*"):
            path.unlink()
        seen = store(tmp_path / "a.db", conversation(7))
        assert index.wait(20)
        assert listed(client) == ["c-7"]


def test_a_store_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    """The page says what to do; the first conversation appears in it."""
    seen = store(tmp_path / "a.db")
    with viewed(seen) as client:
        assert "No conversation yet" in client.get("/").text
        store(tmp_path / "a.db", conversation(1))
        assert client.app.state.index.wait(20)  # type: ignore[attr-defined]  # Starlette's
        assert listed(client) == ["c-1"]


def test_links_of_a_list_say_only_what_is_not_usual() -> None:
    """An address is short, and leads back to what it was made of."""
    assert Asked().link() == "?"
    asked = Asked(q="a b", only="slow", page=3)
    assert asked.link() == "?q=a+b&only=slow"
    assert asked.link(page=3) == "?q=a+b&only=slow&page=3"
    assert Asked.of({"q": "a b", "only": "slow", "page": "3"}) == asked


def test_everything_is_counted_over_all_pages(tmp_path: Path) -> None:
    """Also what isn't shown."""
    seen = store(tmp_path / "a.db", *(conversation(number) for number in range(3)))
    with viewed(seen) as client:
        found = find(client.app.state.index, Asked(page=2))  # type: ignore[attr-defined]
    assert (found.count, found.total, found.running, len(found.rows)) == (3, 3, 0, 0)
