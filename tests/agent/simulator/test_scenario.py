"""Scenarios are read, or refused with the file, the line, the field and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

import config
from agent.session.line import Outcome
from agent.simulator.expect import Expect
from agent.simulator.loading import ScenarioError, find_scenarios, load_scenario, schema
from agent.simulator.scenario import HangUpTurn, SilentTurn, SpokenTurn, TypedTurn
from tests.agent.simulator.recordings import silence, tone, write_wav

SHIPPED = sorted((Path(config.__file__).parent / "scenarios").rglob("*.yaml"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_wav(tmp_path / "audio" / "hello.wav", silence(0.1) + tone(0.3))
    (tmp_path / "audio" / "text.wav").write_text("this is no recording")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "test.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_loads_everything_a_scenario_can_say(folder: Path) -> None:
    """A scenario is read with its recordings; patterns match in any case."""
    scenario = load_scenario(
        write(
            folder,
            """
            name: test
            description: two turns
            outcome: completed
            start: {user: {id: u1}, tags: {tenant: acme}}
            turns:
              - wait_for: greeting
                say: audio/hello.wav
                words: Hello there
                expect: {reply: "how many", tool: book, arguments: {party: 4}, within_ms: 4000}
              - text: Four
                pause_ms: 500
            """,
        )
    )
    spoken, typed = scenario.turns
    assert isinstance(spoken, SpokenTurn)
    assert spoken.say.seconds == 0.4
    assert spoken.expect.reply is not None
    assert spoken.expect.reply.search("How Many people?")
    assert isinstance(typed, TypedTurn)
    assert (typed.words, typed.wait_for, typed.pause_ms) == ("Four", "agent", 500)
    assert scenario.outcome is Outcome.COMPLETED
    start = scenario.start.message("c-1")
    assert (start.id, start.user, start.tags) == ("c-1", {"id": "u1"}, {"tenant": "acme"})


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "1: a scenario is a mapping with a name and turns"),
        ("name: [a\nturns:\n", "2: not valid YAML: expected ',' or ']', but got ':'"),
        ("turns: [{text: a}]", "1: name is missing"),
        ("name: a\nturns: []", "1: turns is empty: a caller has to say something"),
        (
            "name: a\nturns:\n  - text: a\n    expct: {}",
            "4: turns[0].expct: unknown field; allowed are wait_for, barge_in_ms, pause_ms, "
            "text, expect",
        ),
        (
            "name: a\nturns:\n  - text: a\n  - words: b",
            "4: turns[1]: a turn has one of say (a recording, with words), text, silence (ms) "
            "and hang_up",
        ),
        (
            "name: a\nturns:\n  - text: a\n    silence: 100",
            "3: turns[0]: a turn has one of say (a recording, with words), text, silence (ms) "
            "and hang_up",
        ),
        (
            "name: a\nturns:\n  - text: a\n    barge_in_ms: 100\n    wait_for: agent",
            "3: turns[0]: barge_in_ms says when already: leave out wait_for",
        ),
        (
            "name: a\nturns:\n  - text: a\n    expect: {no_reply: true, reply: b}",
            "4: turns[0].expect: no_reply and reply exclude each other: leave one out",
        ),
        (
            "name: a\nturns:\n  - text: a\n    expect: {tool_ok: false}",
            "4: turns[0].expect: tool_ok needs the tool that is to fail: add tool",
        ),
        (
            "name: a\nturns:\n  - silence: 100\n    expect: {interruption: stops}",
            "3: turns[0]: interruption needs something said: a silent turn has nothing",
        ),
        (
            "name: a\nturns:\n  - say: audio/hello.wav\n    words: '...'",
            '3: turns[0]: words has no word in it: give what is said, or "" for a noise',
        ),
        (
            "name: a\nturns:\n  - hang_up: true\n  - text: a",
            "1: hang_up has to be the last turn",
        ),
        (
            "name: a\noutcome: idle\nturns: [{hang_up: true}]",
            "1: a caller that hangs up ends the call as hung_up: leave out outcome",
        ),
        (
            "name: a\nline: {loss: 2}\nturns: [{text: a}]",
            "2: line: loss has to be 0 to 0.5, not 2",
        ),
        (
            "name: a\nturns:\n  - say: audio/hello.wav\n",
            "3: turns[0]: words is missing",
        ),
        (
            "name: a\nturns:\n  - text: a\n    wait_for: ever",
            "4: turns[0].wait_for: it should be 'agent', 'greeting' or 'nothing', not 'ever'",
        ),
        (
            "name: a\nturns:\n  - text: a\n    expect:\n      reply: '(b'",
            "5: turns[0].expect.reply: is not a regular expression: "
            "missing ), unterminated subpattern at position 0",
        ),
        (
            "name: a\nturns:\n  - text: a\n    expect: {arguments: {b: 1}}",
            "4: turns[0].expect: arguments need the tool they are given to: add tool",
        ),
        (
            "name: a\nturns:\n  - text: a\n    expect: {within_ms: 100}",
            "3: turns[0]: within_ms is measured from the caller's voice: a typed turn has none",
        ),
        (
            "name: a\nturns:\n  - text: a\n  - text: b\n    wait_for: greeting",
            "1: only the first turn can wait for the greeting: use agent",
        ),
        (
            "name: a\nstart: {user: {id: [1]}}\nturns: [{text: a}]",
            "2: start: user.id: should be text of at most 200 characters, a number, a boolean "
            "or null",
        ),
    ],
)
def test_mistakes_are_explained_in_one_line(folder: Path, text: str, error: str) -> None:
    """Each mistake is one line: the file, the line, the field, what is wrong, what is allowed."""
    path = write(folder, text)
    with pytest.raises(ScenarioError) as refused:
        load_scenario(path)
    assert str(refused.value) == f"{path}:{error}"


@pytest.mark.parametrize(
    ("wav", "why"), [("gone.wav", "no such file"), ("text.wav", "is no recording")]
)
def test_recordings_are_checked_with_the_scenario(folder: Path, wav: str, why: str) -> None:
    """A recording that is missing, or none, is found at loading, with its line."""
    path = write(folder, f"name: a\nturns:\n  - words: hi\n    say: audio/{wav}")
    with pytest.raises(ScenarioError, match=rf"test\.yaml:4: turns\[0\]\.say: .*{why}"):
        load_scenario(path)


PATHS = (
    "has to be the path of a recording, or of several with pauses (ms) between them, as in "
    "[audio/a.wav, 600, audio/b.wav]"
)


@pytest.mark.parametrize(
    ("say", "error"),
    [
        ("[]", PATHS),
        ("[600, audio/hello.wav]", PATHS),
        ("[audio/hello.wav, 600]", PATHS),
        ("[audio/hello.wav, audio/hello.wav]", PATHS),
        ("[audio/hello.wav, audio/hello.wav, audio/hello.wav]", PATHS),
        ("[audio/hello.wav, 0.6, audio/hello.wav]", PATHS),
        ("[audio/hello.wav, true, audio/hello.wav]", PATHS),
        ("[audio/hello.wav, 300, [audio/hello.wav]]", PATHS),
        ("{a: b}", PATHS),
        ("[audio/hello.wav, 0, audio/hello.wav]", "a pause has to be 1 to 10000 ms, not 0"),
        ("[audio/hello.wav, 10001, audio/hello.wav]", "a pause has to be 1 to 10000 ms, not 10001"),
    ],
)
def test_mistakes_in_what_is_said_are_explained_in_one_line(
    folder: Path, say: str, error: str
) -> None:
    """Recordings and pauses take turns; anything else is refused with an example of how."""
    path = write(folder, f"name: a\nturns:\n  - words: hi\n    say: {say}")
    with pytest.raises(ScenarioError) as refused:
        load_scenario(path)
    assert str(refused.value) == f"{path}:4: turns[0].say: {error}"


def test_a_recording_with_a_number_for_a_name_can_be_said(folder: Path) -> None:
    """Between two recordings is a pause; where a recording stands, a number is a path."""
    write_wav(folder / "600", tone(0.3))
    path = write(folder, "name: a\nturns:\n  - words: hi\n    say: [600, 600, 600]")
    (spoken,) = load_scenario(path).turns
    assert isinstance(spoken, SpokenTurn)
    assert spoken.say.pauses_ms == (600,)


def test_everything_a_caller_can_do(folder: Path) -> None:
    """Barging in, a noise, a silence, hanging up, a bad line and what is booked are all read."""
    scenario = load_scenario(
        write(
            folder,
            """
            name: test
            line: {snr_db: 20, loss: 0.02}
            reservations: [{name: Miller, party: 4}]
            turns:
              - {text: hi, barge_in_ms: 800, expect: {interruption: stops}}
              - {say: audio/hello.wav, words: "", expect: {no_reply: true}}
              - {silence: 9000, expect: {reply: still there}}
              - {say: [audio/hello.wav, 300, audio/hello.wav], words: Hello hello}
              - {hang_up: true, barge_in_ms: 300}
            """,
        )
    )
    barging, noise, silent, pausing, hanging_up = scenario.turns
    assert (barging.barge_in_ms, barging.expect.interruption) == (800, "stops")
    assert noise.expect.no_reply
    assert isinstance(silent, SilentTurn)
    assert silent.silence == 9000
    assert isinstance(pausing, SpokenTurn)
    assert (len(pausing.say.pieces), pausing.say.pauses_ms) == (2, (300,))
    assert pausing.say.pcm in scenario.speech
    assert isinstance(hanging_up, HangUpTurn)
    assert scenario.hangs_up
    assert (scenario.line.snr_db, scenario.line.loss) == (20, 0.02)
    assert scenario.reservations == ({"name": "Miller", "party": 4},)


def test_schema_for_editors_is_current() -> None:
    """The schema beside the shipped scenarios is the models' own: parley simulate --schema."""
    written = Path(config.__file__).parent / "scenarios" / "schema.json"
    assert written.read_text(encoding="utf-8") == schema()


def test_finds_scenarios_by_name_and_by_path(folder: Path) -> None:
    """Known scenarios have names; a path is a scenario too; no name means all known ones."""
    path = write(folder, "name: a\nturns: [{text: hi}]")
    known = {"a": path}
    assert [each.name for each in find_scenarios(["a", str(path)], known)] == ["a", "a"]
    assert [each.name for each in find_scenarios([], known)] == ["a"]


def test_finds_a_folder_beside_the_known_ones_by_name(folder: Path) -> None:
    """Its scenarios are run when it is named, not otherwise; a path goes without."""
    text = "name: {}\nturns: [{{text: hi}}]"
    known = {"a": write(folder, text.format("a"))}
    (folder / "more").mkdir()
    for name in ("c", "b"):
        (folder / "more" / f"{name}.yaml").write_text(text.format(name))
    assert [each.name for each in find_scenarios(["more", "a"], known)] == ["b", "c", "a"]
    assert [each.name for each in find_scenarios([], known)] == ["a"]
    for name in ("audio", f"../{folder.name}", "gone"):
        with pytest.raises(ScenarioError, match="unknown scenario"):
            find_scenarios([name], known)


def test_unknown_scenario_lists_the_known_ones() -> None:
    """A name that isn't known is refused with those that are."""
    known = {"booking": Path("b.yaml"), "opening_hours": Path("o.yaml")}
    with pytest.raises(ScenarioError, match="'bokking': known are booking, opening_hours"):
        find_scenarios(["bokking"], known)


def test_scenario_that_is_not_there() -> None:
    """A path that leads nowhere is one line."""
    with pytest.raises(ScenarioError, match=r"gone\.yaml: cannot read .*: no such file"):
        find_scenarios(["gone.yaml"], {})


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_shipped_scenarios_load(path: Path) -> None:
    """What Parley ships can be run, under the name of its file."""
    assert load_scenario(path).name == path.stem


def test_tool_call_matches_by_some_of_its_arguments() -> None:
    """A call is the expected one if it has the expected arguments; words match in any case."""
    expect = Expect(tool="book", arguments={"party": 4, "name": "Smith"})
    assert expect.called("book", '{"party": 4, "name": "smith", "time": "19:30"}')
    assert not expect.called("cancel", '{"party": 4, "name": "smith"}')
    assert not expect.called("book", '{"party": 5, "name": "smith"}')
    assert not expect.called("book", '{"name": "smith"}')
    assert not expect.called("book", "not json")
