"""The shipped scenarios hold: as they are written, and as they are heard."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Final

import anyio
import jiwer
import numpy as np
import pytest

from agent.audio import audible
from agent.desk.understanding import understand
from agent.providers.inference import Threads
from agent.providers.moonshine import Recognizer
from agent.providers.utterance import SpeechBuffer
from agent.session.backchannel import is_sound
from agent.simulator.audio import SAMPLE_RATE_HZ
from agent.simulator.loading import load_scenario
from agent.simulator.scenario import Scenario, SpokenTurn
from config import scenario_files
from tests.agent.desk.conftest import TODAY
from tests.agent.desk.conversation import converse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.desk import Reservations
    from agent.simulator.scenario import Turn


NEEDS_A_CALL: Final = {
    "barge_in",
    "comes_back",
    "failing_tool",
    "false_interruption",
    "hang_up",
    "silent_caller",
    "slow_tool",
}
"""What is about audio, silence or a faulty service, not about what is said: `parley simulate` and
the acceptance test hold those."""


SHIPPED: Final = [*scenario_files(), *scenario_files("pauses")]


@pytest.fixture(params=SHIPPED, ids=lambda path: path.stem)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """Every scenario that ships."""
    path: Path = request.param
    return load_scenario(path)


@pytest.fixture(
    params=[path for path in SHIPPED if path.stem not in NEEDS_A_CALL],
    ids=lambda path: path.stem,
)
def talk(request: pytest.FixtureRequest) -> Scenario:
    """Every one that is only talk."""
    path: Path = request.param
    return load_scenario(path)


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    """The recogniser that a local worker listens with."""
    with closing(Threads(1)) as threads:
        recognizer = Recognizer(threads, 1)
        yield recognizer
        recognizer.close()


def plain(words: str) -> str:
    """Words as they are compared: in lower case, without punctuation, and without "um" and "uh",
    which are heard as anything."""
    return re.sub(r"\b(?:um|uh)\b|[^\w' ]", "", words.lower())


async def hear(recognizer: Recognizer, turn: Turn, offset: int = 0) -> str:
    """What is recognised of a turn that begins so many samples into a window of the detector's; of
    one with pauses as a whole, as the recogniser's stream does it."""
    if not isinstance(turn, SpokenTurn):
        return turn.words
    buffer = SpeechBuffer()
    buffer.push(
        np.pad(np.frombuffer(turn.say.pcm, np.int16), (SAMPLE_RATE_HZ + offset, SAMPLE_RATE_HZ))
    )
    utterance = buffer.take()
    return await recognizer.transcribe(utterance.samples) if utterance else ""


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


async def test_holds_as_written(talk: Scenario, reservations: Reservations) -> None:
    """The script, the tools and the service do what a scenario expects, many times over."""
    for _ in range(3):
        await hold(talk, reservations, [turn.words for turn in talk.turns])


async def test_holds_as_heard(
    talk: Scenario, reservations: Reservations, recognizer: Recognizer
) -> None:
    """The recordings are understood, by the recogniser and by the script."""
    heard = [await hear(recognizer, turn) for turn in talk.turns]
    await hold(talk, reservations, heard)


async def test_recordings_say_their_words(scenario: Scenario, recognizer: Recognizer) -> None:
    """They are recognised as what is written, whenever they begin; a noise as nothing, or as what
    an agent that is talking takes for a sound."""
    said = [turn for turn in scenario.turns if isinstance(turn, SpokenTurn)]
    heard = [
        (plain(turn.words), await hear(recognizer, turn, offset))
        for turn in said
        for offset in (0, 170, 340)  # what is recognised depends on how the windows fall
    ]
    assert [sound for words, sound in heard if not words and not is_sound(sound)] == []
    if spoken := [(words, plain(said)) for words, said in heard if words]:
        written, recognised = zip(*spoken, strict=True)
        assert jiwer.wer([*written], [*recognised]) < 0.2, heard


def test_recordings_have_no_pauses(scenario: Scenario) -> None:
    """None is longer than 0.25 s: a turn detector must not take one turn for two."""
    for turn in scenario.turns:
        if isinstance(turn, SpokenTurn):
            for piece in turn.say.pieces:
                gaps = np.diff(audible(piece.pcm))
                assert gaps.max() < 0.25 * SAMPLE_RATE_HZ, piece.path


def test_twenty_sentences_have_a_pause() -> None:
    """Of 300, 600 and 900 ms, each where its words say; in the other scenarios there is none."""
    said = [
        turn
        for path in SHIPPED
        for turn in load_scenario(path).turns
        if isinstance(turn, SpokenTurn)
    ]
    pauses = Counter(ms for turn in said for ms in turn.say.pauses_ms)
    assert (set(pauses), pauses.total()) == ({300, 600, 900}, 20)
    assert min(pauses.values()) >= 6
    assert all(turn.words.count("…") == len(turn.say.pauses_ms) for turn in said)


def test_days_are_still_to_come() -> None:
    """Whenever a scenario runs, "Friday" and "December twenty-fourth" are not past."""
    said = {turn.words for path in SHIPPED for turn in load_scenario(path).turns}
    for ahead in range(366):
        today = TODAY + dt.timedelta(days=ahead)
        dates = [understand(words, today=today).details.date for words in said]
        assert all(date is None or date >= today for date in dates)
