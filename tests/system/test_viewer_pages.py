"""The viewer's pages in a real browser: for everybody, live, and without JavaScript as well."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from playwright.async_api import expect

from telemetry import attributes as names
from telemetry.store import StoredError, TraceStore
from telemetry.viewer import app
from tests.telemetry.viewer.runs import runs
from tests.telemetry.viewer.stored import START, Turn, conversation, served, store

from .axe import grave, script
from .chromium import chromium

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.async_api import Page

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]  # the first may install Chromium

VIEWS = (
    "/",
    "/?q=table&only=slow",
    "/?q=nothing-like-that",
    "/?sort=-p95&outcome=hung_up",
    "/latency",
    "/latency?by=model&of=llm",
    "/latency?by=tag:tenant&only=acme",
    "/compare",
    "/health",
    "/nothing-there",
)
SCREENS = {"desk": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}


@pytest.fixture
def viewed(tmp_path: Path) -> TraceStore:
    """A store with conversations of all kinds: good, slow, failed, cut off, running."""
    stages = {"endpointing": 0.4, "llm": 0.3, "synthesis": 0.2}
    turns = [
        Turn("a table for four", "for which day?", latency, stages, ("small-1", "joe"))
        for latency in (0.6, 0.9, 2.5)
    ]
    hung_up = {names.CONVERSATION_OUTCOME: "hung_up", names.CONVERSATION_INTERRUPTIONS: 2}
    made = store(
        tmp_path / "a.db",
        conversation(1, turns, tags={"tenant": "acme"}),
        conversation(2, turns[:1], attributes=hung_up, status="internal_error"),
        conversation(3, turns, status="aborted", attributes={}),
        conversation(4, turns, ended_at=None, status="open"),
    )
    made.add_error("c-2", StoredError(f"{2:032x}", None, START + 121, "ValueError", "no table"))
    made.close()
    return made


@pytest.fixture
def address(viewed: TraceStore, tmp_path: Path) -> Iterator[str]:
    """The address of a viewer of it."""
    made = app([viewed], received=TraceStore(tmp_path / "received.db"), runs=runs())
    with served(made) as where:
        assert made.state.index.wait(20)
        yield f"http://{where}"


@asynccontextmanager
async def browser(**options: Any) -> AsyncIterator[tuple[Page, list[str]]]:
    async with chromium(**options) as opened:
        yield opened


async def test_everybody_can_use_every_view(address: str) -> None:
    """Nothing that axe-core calls serious, in light and dark, at a desk and on a phone; nothing
    that the browser calls an error."""
    axe = await anyio.to_thread.run_sync(script)
    async with browser() as (page, errors):
        found: dict[str, list[str]] = {}
        for view in VIEWS:
            for screen in SCREENS.values():
                await page.set_viewport_size(screen)  # type: ignore[arg-type]  # two numbers
                for scheme in ("light", "dark"):
                    await page.emulate_media(color_scheme=scheme)
                    await page.goto(address + view)
                    if grievances := await grave(page, axe):
                        found[f"{view} {scheme} {screen['width']}"] = grievances
        assert found == {}
        assert [error for error in errors if "404" not in error] == []


async def test_a_page_is_no_wider_than_a_phone(address: str) -> None:
    """Nobody has to scroll sideways to read; only a table may be wider, in a frame of its own."""
    async with browser(viewport=SCREENS["phone"]) as (page, _):
        for view in VIEWS:
            await page.goto(address + view)
            wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, view


async def test_a_call_appears_and_grows_without_a_reload(address: str, viewed: TraceStore) -> None:
    """It is on top as it begins; its turns come, and when it ends it isn't running any more."""
    async with browser() as (page, errors):
        await page.goto(address)
        loaded = page.locator("#row-1")
        await loaded.evaluate("row => { row.dataset.before = 'kept'; }")
        begun = conversation(9, ended_at=None, status="open", spans=())
        await anyio.to_thread.run_sync(viewed.open_conversation, begun)
        first = page.locator("tbody tr").first
        await expect(first).to_contain_text("c-9")
        await expect(first).to_contain_text("running")
        turn = Turn("hello", "good evening", 0.42)
        spans = conversation(9, [turn]).spans[1:]
        await anyio.to_thread.run_sync(viewed.add_spans, begun.trace_id, begun.id, spans)
        await expect(first).to_contain_text("420 ms")
        await anyio.to_thread.run_sync(viewed.close_conversation, conversation(9, [turn]))
        await expect(page.locator("tr", has_text="c-9")).to_contain_text("completed")
        await expect(loaded).to_have_attribute("data-before", "kept")  # the page is still the same
        assert errors == []
    viewed.close()


async def test_everything_but_live_works_without_javascript(address: str) -> None:
    """Search, filters, sorting and the other views are links and forms."""
    async with browser(java_script_enabled=False) as (page, _):
        await page.goto(address)
        await page.get_by_role("searchbox").fill("table four")
        await page.get_by_role("button", name="Search").click()
        await expect(page.locator("mark").first).to_have_text("table")
        await page.get_by_label("Only").select_option("slow")
        await page.get_by_role("button", name="Search").click()
        await expect(page.locator("tbody tr")).to_have_count(3)
        await page.get_by_role("link", name="p95").click()
        assert page.url.endswith("/?q=table+four&only=slow&sort=-p95")
        await page.get_by_role("link", name="Latency").click()
        await page.locator("select[name=by]").select_option("model")
        await page.get_by_role("button", name="Show").click()
        await expect(page.get_by_role("link", name="small-1")).to_be_visible()
        await page.get_by_role("link", name="Health").click()
        await expect(page.get_by_role("heading", name="Health")).to_be_visible()


async def test_the_keyboard_reaches_a_conversation_and_stays_there(address: str) -> None:
    """The focus isn't lost when the rows below it are made anew."""
    async with browser() as (page, _):
        await page.goto(address)
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
        link = page.get_by_role("link", name="c-4")
        await link.focus()
        asked = page.expect_response(lambda answer: "/rows" in answer.url)
        async with asked:
            pass
        async with page.expect_response(lambda answer: "/rows" in answer.url):
            pass
        await expect(link).to_be_focused()
