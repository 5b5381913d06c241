"""The shipped scenarios hold: as they are written, and as they are heard."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anyio
import jiwer
import numpy as np
import pytest

from agent.providers.moonshine import Recognizer
from agent.simulator.scenario import Scenario, SpokenTurn, load_scenario
from config import scenario_files
from tests.agent.desk.conversation import converse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.desk import Reservations
    from agent.simulator.scenario import Turn


@pytest.fixture(params=scenario_files(), ids=lambda path: path.stem)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """Every scenario that ships."""
    path: Path = request.param
    return load_scenario(path)


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    """The recogniser that a local worker listens with."""
    with ThreadPoolExecutor(1) as executor:
        recognizer = Recognizer(executor, threads=1)
        yield recognizer
        recognizer.close()


def plain(words: str) -> str:
    """Words as they are compared: in lower case and without punctuation."""
    return re.sub(r"[^\w' ]", "", words.lower())


async def hear(recognizer: Recognizer, turn: Turn) -> str:
    """What is recognised of a turn."""
    if not isinstance(turn, SpokenTurn):
        return turn.words
    return await recognizer.transcribe(np.frombuffer(turn.say.pcm, np.int16))


async def hold(scenario: Scenario, reservations: Reservations, words: list[str]) -> None:
    """Say these words to a desk, and check everything the scenario expects."""
    async with converse(reservations) as conversation:
        for turn, said in zip(scenario.turns, words, strict=True):
            reply = await conversation.says(said)
            expect = turn.expect
            if expect.reply:
                assert expect.reply.search(reply.words), f"{said!r}: {reply.words!r}"
            if expect.tool:
                called = [expect.called(call.name, call.arguments) for call in reply.calls]
                assert any(called), f"{said!r}: {reply.calls}"
        with anyio.fail_after(5):
            await conversation.closed.wait()


async def test_holds_as_written(scenario: Scenario, reservations: Reservations) -> None:
    """The script, the tools and the service do what a scenario expects, many times over."""
    for _ in range(3):
        await hold(scenario, reservations, [turn.words for turn in scenario.turns])


async def test_holds_as_heard(
    scenario: Scenario, reservations: Reservations, recognizer: Recognizer
) -> None:
    """The recordings are understood, by the recogniser and by the script."""
    heard = [await hear(recognizer, turn) for turn in scenario.turns]
    written = [turn.words for turn in scenario.turns]
    errors = jiwer.wer([*map(plain, written)], [*map(plain, heard)])
    assert errors < 0.15, heard
    await hold(scenario, reservations, heard)
