"""One conversation in a real browser: seen, heard, gone through by keys, and taken out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import av
import numpy as np
import pytest
from playwright.async_api import expect

from telemetry import attributes as names
from telemetry.store import Stores, TraceStore
from telemetry.viewer import app, exported
from telemetry.viewer.turns import SLOW_SECONDS
from telemetry.viewer.waveform import decoded
from tests.telemetry.viewer.spoken import RATE, ROOT, START, TRACE, Spans, conversation, recorded
from tests.telemetry.viewer.stored import served

from .axe import grave, script
from .chromium import chromium
from .viewing import simulated, viewer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]  # the first may install Chromium

PLACE: Final = f"conversations/{TRACE}/{ROOT}"
PLAYS: Final = """() => new Promise((resolve) => {
    const audio = document.querySelector("audio");
    const began = ({ timeStamp }) => {
        const since = performance.now() - timeStamp; // a busy page is told late
        resolve(audio.currentTime - since / 1000);
    };
    audio.addEventListener("playing", began, { once: true });
    audio.addEventListener("error", () => resolve(-1), { once: true });
})"""
"""The place from which the audio plays, once it does."""


@asynccontextmanager
async def shown(
    *stores: TraceStore, place: str = PLACE, **viewing: Any
) -> AsyncIterator[tuple[Page, list[str]]]:
    """The page of a conversation, drawn, and its errors."""
    with served(app(stores)) as where:
        async with chromium("--autoplay-policy=no-user-gesture-required", **viewing) as (
            tab,
            errors,
        ):
            await tab.goto(f"http://{where}/{place}")
            await drawn(tab)
            yield tab, errors


async def drawn(tab: Page) -> None:
    await expect(tab.locator("#conversation")).to_have_attribute("data-ready", "true")


async def plays_from(tab: Page, word: str) -> float:
    """The place from which the audio plays after a click at a word."""
    async with anyio.create_task_group() as tasks:
        place: list[float] = []

        async def listen() -> None:
            place.append(await tab.evaluate(PLAYS))

        tasks.start_soon(listen)
        await anyio.lowlevel.checkpoint()
        await tab.click(word)
    return place[0]


async def seconds(tab: Page) -> float:
    """The playhead, as it is shown."""
    minutes, _, rest = (await tab.inner_text("#time")).partition(":")
    return 60 * int(minutes) + float(rest)


def first_sound(path: Path, side: int, after: float) -> float:
    """The second in a recording at which a side is heard first, from then on: its first sample of
    1 % of full scale. Measured by itself, and not as the viewer does."""
    samples: list[Any] = []
    with av.open(str(path)) as file:
        samples += [frame.to_ndarray()[side] for frame in file.decode(audio=0)]
    sound = np.concatenate(samples)
    start = round(after * RATE)
    return start / RATE + float(np.argmax(np.abs(sound[start:]) > 0.01)) / RATE


async def test_a_call_that_the_simulator_has_held(tmp_path: Path) -> None:
    """Found by a word, heard from a word that is clicked (± 50 ms), and its slow turn says which
    stage was slow."""
    await simulated(tmp_path, "slow_tool")
    store = TraceStore(tmp_path / "traces.db")
    [row] = store.conversations()
    call = store.conversation(row.id)
    assert call is not None
    [recording] = store.recordings(call)
    asked = next(span for span in call.spans if span.op == names.OP_USER_SPEECH)
    since = asked.started_at - recording.started_at - 0.4
    onset = first_sound(recording.path, 0, since)
    async with (
        viewer(tmp_path) as url,
        chromium("--autoplay-policy=no-user-gesture-required") as (tab, errors),
    ):
        await tab.goto(url)
        await tab.fill("input[name=q]", "december")
        await tab.keyboard.press("Enter")
        await tab.click(f"a.name:has-text('{row.id}')")
        await drawn(tab)
        word = "#turns .line.caller .word >> nth=0"
        assert await plays_from(tab, word) == pytest.approx(onset, abs=0.05)
        await tab.keyboard.press(" ")
        await tab.click("#turns .response button.slow")
        slow = tab.locator("#turns .response:has(button.slow) .slowest >> nth=0")
        told = await slow.inner_text()
        responses = [span for span in call.spans if span.op == names.OP_RESPONSE]
        known = next(  # the first that is slow: the one that is clicked
            span.attributes
            for span in sorted(responses, key=lambda span: span.started_at)
            if span.attributes[names.RESPONSE_LATENCY] > SLOW_SECONDS
        )
        stages = {
            name.removeprefix(names.LATENCY_STAGE).replace("_", " "): value
            for name, value in known.items()
            if name.startswith(names.LATENCY_STAGE)
        }
        assert told.startswith(max(stages, key=lambda name: stages[name]))
        await expect(tab.locator("#details h3")).to_contain_text(names.OP_RESPONSE)
        assert errors == []


async def test_a_word_is_heard_where_it_is_clicked(tmp_path: Path) -> None:
    """The audio plays from where the word can be heard, within 50 ms: the first that the caller
    said, and one after a pause. The recording begins later than the call."""
    store = recorded(tmp_path / "traces.db", conversation(), late=0.2)
    audio = decoded(next(store.audio_folder.iterdir()))
    heard = audio.voiced(0, 0, audio.seconds, earliest=0)
    async with shown(store) as (tab, errors):
        for word, (onset, _) in zip(("Are", "On"), heard, strict=True):
            for where in ("#turns", "#strip"):
                found = f"{where} .word:text-is('{word}')"
                assert await plays_from(tab, found) == pytest.approx(onset, abs=0.05), found
                await tab.keyboard.press(" ")
                await expect(tab.locator("#play")).to_contain_text("Play")
                await expect(tab.locator(f"{where} .current")).to_have_count(1)
        assert "t=" in tab.url
        assert errors == []


async def test_which_stage_was_slow(tmp_path: Path) -> None:
    """From one problem to the next: the slow turn says which stage it was, and the trace has it."""
    spans = Spans()
    spans.add(names.OP_CONVERSATION, 0, 10, None, span_id=ROOT)
    turn = spans.add(
        names.OP_TURN, 1, 8, attributes={names.USER_WORDS: "Now?", names.TURN_INDEX: 4}
    )
    spans.add(names.OP_USER_SPEECH, 1, 2, turn)
    response = spans.add(names.OP_RESPONSE, 2, 4.5, turn)
    for stage, at, until in (("endpointing", 2, 2.3), ("tools", 2.3, 4.2), ("synthesis", 4.2, 4.5)):
        spans.add(f"{names.OP_RESPONSE}.{stage}", at, until, response, stage)
    store = TraceStore(tmp_path / "traces.db")
    store.close_conversation(conversation(spans=tuple(spans.made)))
    store.close()
    async with shown(store) as (tab, errors):
        await tab.keyboard.press("e")
        told = "0:02.0: Turn 4 was answered after 2.50 s, 1.90 s of it tools"
        await expect(tab.locator("#told")).to_have_text(told)
        await expect(tab.locator("#turns .slowest")).to_have_text("tools 1.90 s")
        await expect(tab.locator("#details h3")).to_contain_text(names.OP_RESPONSE)
        tile = tab.locator("#strip .stage-tools")
        box = await tile.bounding_box()
        gap = [
            await tab.locator(f"#strip .stage-{name}").bounding_box()
            for name in ("endpointing", "synthesis")
        ]
        assert box is not None
        assert gap[0] is not None
        assert gap[1] is not None
        assert gap[0]["x"] + gap[0]["width"] == pytest.approx(box["x"], abs=1)
        assert box["x"] + box["width"] == pytest.approx(gap[1]["x"], abs=1)
        assert await tab.locator("#play").is_disabled(), "there is no recording"
        assert errors == []


async def test_by_keyboard(tmp_path: Path) -> None:
    """Turns, zoom, the trace, a span's attributes, the list of keys: no pointer. The address says
    where one is, and leads there again."""
    async with shown(recorded(tmp_path / "traces.db", conversation())) as (tab, errors):
        await tab.keyboard.press("n")
        await tab.keyboard.press("n")
        assert await seconds(tab) == pytest.approx(2.0, abs=0.05)
        await tab.keyboard.press("p")
        assert await seconds(tab) == pytest.approx(0.25, abs=0.06)
        await tab.keyboard.press("+")
        await tab.keyboard.press("?")
        await expect(tab.locator("#help")).to_be_visible()
        await tab.keyboard.press("Escape")
        await tab.focus("#waterfall")
        await tab.keyboard.press("ArrowLeft")  # folds the root
        assert await tab.get_attribute("#waterfall", "aria-rowcount") == "1"
        await tab.keyboard.press("ArrowRight")
        await tab.keyboard.press("ArrowDown")
        await tab.keyboard.press("Enter")
        await expect(tab.locator("#details")).to_contain_text(names.TURN_INITIATOR)
        await expect(tab.locator("#details .close")).to_be_focused()
        url = tab.url
        await tab.keyboard.press("Escape")
        await expect(tab.locator("#details")).to_be_hidden()
        await expect(tab.locator("#waterfall")).to_be_focused()
        await tab.goto("about:blank")
        await tab.goto(url)
        await drawn(tab)
        await expect(tab.locator("#details")).to_contain_text(names.TURN_INITIATOR)
        assert await seconds(tab) == pytest.approx(0.25, abs=0.06)
        assert errors == []


async def test_a_live_call_grows(tmp_path: Path) -> None:
    """What is recorded is there within a second, without a reload; and so is the end."""
    store = TraceStore(tmp_path / "traces.db")
    spans = [span for span in conversation().spans if span.started_at < START + 2]
    store.open_conversation(conversation(ended_at=None, spans=tuple(spans)))
    async with shown(store) as (tab, errors):
        await expect(tab.locator("#fact-outcome")).to_have_text("running")
        await expect(tab.locator("#turns")).not_to_contain_text("Are you open?")
        store.add_spans(TRACE, "c-1", conversation().spans)
        await expect(tab.locator("#turns")).to_contain_text("Are you open?", timeout=1000)
        store.close_conversation(conversation())
        await expect(tab.locator("#fact-outcome")).to_have_text("completed", timeout=2000)
        assert errors == []
    store.close()


async def test_a_thousand_spans(tmp_path: Path) -> None:
    """All can be reached, though few are elements."""
    spans = Spans()
    spans.add(names.OP_CONVERSATION, 0, 900, None, span_id=ROOT)
    for number in range(1500):
        spans.add("gen_ai.chat", number / 2, number / 2 + 0.4, name=f"chat {number}")
    store = TraceStore(tmp_path / "traces.db")
    store.close_conversation(conversation(spans=tuple(spans.made), ended_at=START + 900))
    store.close()
    async with shown(store) as (tab, errors):
        assert await tab.get_attribute("#waterfall", "aria-rowcount") == "1501"
        assert await tab.locator("#waterfall [role=row]").count() < 100
        await tab.focus("#waterfall")
        await tab.keyboard.press("End")
        await expect(tab.locator(".row.active")).to_contain_text("1499")
        assert errors == []


async def test_taken_out(tmp_path: Path) -> None:
    """The exported file alone, opened from a folder: words, audio, spans; nothing is asked for."""
    store = recorded(tmp_path / "traces.db", conversation())
    sources = Stores([store])
    file = tmp_path / "call.html"
    file.write_text(exported(sources, sources.newest(1)[0], "html"))
    audio = decoded(next(store.audio_folder.iterdir()))
    async with chromium("--autoplay-policy=no-user-gesture-required") as (tab, errors):
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        await tab.goto(file.as_uri())
        await drawn(tab)
        [(_, _), (onset, _)] = audio.voiced(0, 0, audio.seconds, earliest=0)
        found = await plays_from(tab, "#turns .word:text-is('On')")
        assert found == pytest.approx(onset, abs=0.05)
        await tab.keyboard.press(" ")
        await tab.click(".row .name >> nth=3")
        await expect(tab.locator("#details h4")).to_have_text("Attributes")
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert errors == []


async def test_hostile_words(tmp_path: Path) -> None:
    """Nothing that anybody said becomes an element, in the page or in its export."""
    said = "<img src=x onerror=document.title='owned'></script><b id=owned>\u202e"
    known = {names.USER_WORDS: said, names.AGENT_WORDS: said, said: said}
    spans = Spans()
    spans.add(names.OP_CONVERSATION, 0, 10, None, span_id=ROOT, name=said, attributes=known)
    turn = spans.add(names.OP_TURN, 1, 2, attributes=known, name=said)
    spans.add(names.OP_USER_SPEECH, 1, 2, turn)
    store = TraceStore(tmp_path / "traces.db")
    store.close_conversation(conversation(name=said, id=said, spans=tuple(spans.made)))
    store.close()
    sources = Stores([store])
    file = tmp_path / "call.html"
    file.write_text(exported(sources, sources.newest(1)[0], "html"))
    async with shown(store) as (tab, errors):
        for place in (None, file.as_uri()):
            if place is not None:
                await tab.goto(place)
                await drawn(tab)
            await tab.click(".row .name >> nth=1")
            await expect(tab.locator("#details")).to_contain_text("onerror")
            assert await tab.locator("#owned, img[src=x]").count() == 0
            assert "owned" not in (await tab.title()).partition("<img")[0]
            assert "\u202e" not in await tab.inner_text("body")
        assert errors == []


async def test_on_a_phone(tmp_path: Path) -> None:
    """At 360 by 640 nothing scrolls sideways but the strip, and a span's attributes can be read."""
    phone: dict[str, Any] = {
        "viewport": {"width": 360, "height": 640},
        "is_mobile": True,
        "has_touch": True,
    }
    async with shown(recorded(tmp_path / "traces.db", conversation()), **phone) as (tab, errors):
        assert await tab.evaluate("document.documentElement.scrollWidth") == 360
        await tab.tap(".row .name >> nth=2")
        await expect(tab.locator("#details h4")).to_have_text("Attributes")
        assert await tab.evaluate("document.documentElement.scrollWidth") == 360
        assert errors == []


async def test_everybody_can_use_it(tmp_path: Path) -> None:
    """Nothing that axe-core calls serious: in light and dark, at a desk and on a phone, with a
    span's attributes beside the trace, with the list of keys, and without a recording."""
    axe = await anyio.to_thread.run_sync(script)
    heard = recorded(tmp_path / "heard.db", conversation())
    store = TraceStore(tmp_path / "traces.db")
    store.close_conversation(conversation())
    store.close()
    found: dict[str, list[str]] = {}
    for number, each in enumerate((heard, store)):
        async with shown(each) as (tab, _):
            for width, scheme in ((1280, "light"), (390, "dark"), (390, "light"), (1280, "dark")):
                await tab.set_viewport_size({"width": width, "height": 860})
                await tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                await tab.click(".row .name >> nth=5")
                await expect(tab.locator("#details h4")).to_have_text("Attributes")
                for view in ("details", "keys"):
                    if view == "keys":
                        await tab.keyboard.press("?")
                    if grievances := await grave(tab, axe):
                        found[f"{number} {view} {scheme} {width}"] = grievances
                await tab.keyboard.press("Escape")
    assert found == {}
