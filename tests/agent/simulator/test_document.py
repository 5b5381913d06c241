"""YAML means what a person reads in it; a mistake is one line: file, line of text, what, how."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from agent.simulator import document
from agent.simulator.document import DocumentError, Written, meaning, read
from agent.simulator.expect import includes
from agent.simulator.loading import ScenarioError, load_scenario
from agent.simulator.scenario import HangUpTurn, SilentTurn, TypedTurn

if TYPE_CHECKING:
    from pathlib import Path

    from agent.simulator.scenario import Scenario

HELLO = "name: x\nturns:\n  - text: hello\n"


def _load(folder: Path, text: str | bytes) -> Scenario:
    path = folder / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_scenario(path)


# -- values ----------------------------------------------------------------------------------------


TEXTS = [
    *("on", "no", "y", "5", "007", "19:30", "2026-11-27", "2026-13-45", "1.10", "1e5", "0x1F"),
    *("+49 301 234", "true", "=", ".nan", "für vier", "🍕", "12_000", "<<", "0o17"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_text(tmp_path: Path, text: str) -> None:
    """What a caller types is what is written; so are names and tags."""
    scenario = _load(tmp_path, f"name: 12\nstart: {{tags: {{a: {text}}}}}\nturns: [text: {text}]\n")
    assert isinstance(scenario.turns[0], TypedTurn)
    assert (scenario.name, scenario.turns[0].text) == ("12", text)
    assert scenario.start.tags == {"a": text}


@pytest.mark.parametrize(("text", "ms"), [("900", 900), ("0900", 900), ("9_000", 9000)])
def test_numbers_are_numbers(tmp_path: Path, text: str, ms: int) -> None:
    """A nought in front makes no octal number, as it did."""
    [turn] = _load(tmp_path, f"name: x\nturns: [silence: {text}]\n").turns
    assert isinstance(turn, SilentTurn)
    assert turn.silence == ms


@pytest.mark.parametrize("word", ["true", "True", "yes", "Yes", "on", "ON"])
def test_truths_have_many_words(tmp_path: Path, word: str) -> None:
    """Where a truth is asked for, each of YAML's words for it is one."""
    scenario = _load(
        tmp_path, f"name: x\nturns: [{{text: a, expect: {{no_reply: {word}}}}}, hang_up: {word}]"
    )
    assert scenario.turns[0].expect.no_reply is True
    assert isinstance(scenario.turns[1], HangUpTurn)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("4", 4),
        ("-4", -4),
        ("4.5", 4.5),
        ("true", True),
        ("False", False),
        ("0301234", "0301234"),
        ("+49301", "+49301"),
        ("19:30", "19:30"),
        ("2026-02-30", "2026-02-30"),
        ("NO", "NO"),
        (".inf", ".inf"),
        ("1e5", "1e5"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_fields_without_a_type_mean_what_they_look_like(
    tmp_path: Path, written: str, meant: object
) -> None:
    """Arguments, reservations and the user: numbers, truths and text; in quotes always text."""
    scenario = _load(
        tmp_path,
        f"name: x\nstart: {{user: {{a: {written[:100]}}}}}\nreservations: [{{a: {written}}}]\n"
        "turns:\n  - text: a\n    expect:\n      tool: b\n"
        f"      arguments: {{a: {written}, b: [{written}], q: '4'}}\n",
    )
    arguments = scenario.turns[0].expect.arguments
    assert [arguments["a"], arguments["b"], arguments["q"]] == [meant, [meant], "4"]
    assert type(arguments["a"]) in (type(meant), Written)
    assert scenario.reservations == ({"a": meant},)
    if len(written) < 100:
        assert scenario.start.user == {"a": meant}


def test_no_digit_of_the_user_is_lost(tmp_path: Path) -> None:
    """A version isn't rounded, nor is a telephone's number."""
    text = "{app: 1.10, phone: 0301, id: 7, share: 0.5, vip: true, none: }"
    user = _load(tmp_path, f"{HELLO}start: {{user: {text}}}\n").start.user
    expected = {"app": "1.10", "phone": "0301", "id": 7, "share": 0.5, "vip": True, "none": None}
    assert user == expected


def test_a_word_for_a_truth_matches_one() -> None:
    """`approved: yes` is what a tool that was given true was given; `country: NO` is a country."""
    for word, truth in (("yes", True), ("NO", False), ("off", False)):
        assert includes({"a": truth}, {"a": Written(word)})
        assert not includes({"a": not truth}, {"a": Written(word)})
        assert not includes({"a": truth}, {"a": word})  # in quotes it is the word
        assert includes({"a": word.lower()}, {"a": Written(word)})
    assert not includes({"a": True}, {"a": Written("Norway")})


def test_anchors_and_merges_stand_for_what_they_name(tmp_path: Path) -> None:
    """What stands beside a merge goes before it, and isn't there twice."""
    scenario = _load(
        tmp_path,
        "name: x\nturns:\n  - &b {text: hi, expect: {reply: a}}\n"
        "  - <<: *b\n    text: ho\n  - *b\n",
    )
    assert [turn.words for turn in scenario.turns] == ["hi", "ho", "hi"]
    assert scenario.turns[1].expect.reply is not None


@pytest.mark.parametrize(
    "content",
    [
        ("\ufeff" + HELLO).encode(),
        HELLO.replace("\n", "\r\n").encode(),
        HELLO.replace("\n", "\r").encode(),
        HELLO.encode("utf-16"),
        ("---\n" + HELLO + "...\n").encode(),
        b'{"name": "x", "turns": [{"text": "hello"}]}',
    ],
)
def test_editors_may_write_it_as_they_like(tmp_path: Path, content: bytes) -> None:
    """Marks of byte order, ends of lines, UTF-16, JSON."""
    assert _load(tmp_path, content).turns[0].words == "hello"


def test_characters_in_two_halves(tmp_path: Path) -> None:
    """As JSON writes them."""
    assert _load(tmp_path, r'{name: x, turns: [text: "\ud83c\udf55"]}').turns[0].words == "🍕"


# -- mistakes --------------------------------------------------------------------------------------

LEVELS = "[" * 3000 + "]" * 3000
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(99))

MISTAKES: dict[str, tuple[str | bytes, str]] = {
    "a key twice": (
        f"{HELLO}    text: other\n",
        "4: 'text' is there twice, in line 3 too: leave one",
    ),
    "turns twice": (f"{HELLO}turns: []\n", "4: 'turns' is there twice, in line 2 too"),
    "a key twice in another": (
        f"{HELLO}start: {{tags: {{a: 1, a: 1}}}}\n",
        "4: 'a' is there twice",
    ),
    "itself": ("name: x\nturns: &t\n  - *t\n", "2: this is within itself, by its alias"),
    "levels": (f"{HELLO}x: {LEVELS}\n", "4: this is nested in more than 32 levels"),
    "levels of aliases": (CHAIN + HELLO, "this is nested in more than 32 levels"),
    "a bomb": (BOMB + HELLO, ": with its aliases it has over 100000 values"),
    "a tag of Python's": ("name: !!python/object/apply:os.system [id]\n", "1: the tag !!python/"),
    "a tag of one's own": (f"{HELLO}x: !mine 5\n", "4: the tag !mine means nothing here"),
    "binary": ("name: !!binary aGk=\n", "1: the tag !!binary means nothing here"),
    "a tag on another": ("name: !!str {a: b}\n", "1: the tag !!str means nothing here"),
    "a key that is a mapping": ("? {a: 1}\n: 2\n", "1: a key is one word"),
    "a tab": ("name: x\nturns:\n\t- text: a\n", "3: not valid YAML: .*: indent with spaces"),
    "a colon": ("name: x\nturns:\n - text: a: b\n", "3: not valid YAML: .*colon in it in quotes"),
    "two documents": (f"{HELLO}---\n{HELLO}", "4: not valid YAML: .*a file is one scenario"),
    "an alias of nothing": (f"{HELLO}x: *y\n", "4: not valid YAML: found undefined alias 'y'"),
    "a null character": ("name: x\0\n", "1: not text: there is a character 0x0 in it"),
    "a character too large": (
        f'{HELLO}x: "\\UFFFFFFFF"\n',
        "4: not valid YAML: .* larger than any",
    ),
    "Latin 1": (HELLO.replace("hello", "für").encode("latin-1"), "3: it isn't text in UTF-8: save"),
    "half of UTF-16": (b"\xff\xfea", " it isn't text in UTF-8"),
    "nothing": ("# nothing\n", "1: a scenario is a mapping with a name and turns"),
    "nothing said": ("name: x\nturns: [text: ]\n", "2: .*text: it is empty: give a value, or put"),
    "a time for a number": ("name: x\nturns: [silence: 1:30]\n", "2: .* whole number, not '1:30'"),
    "a number too large": (f"name: x\nturns: [silence: {'9' * 5000}]\n", "2: .* a whole number"),
    "no number": (f"{HELLO}line: {{snr_db: .nan}}\n", "4: line.snr_db: .*valid number"),
    "no finite number": (f"{HELLO}line: {{snr_db: nan}}\n", "4: line.snr_db: .*finite"),
    "a truth that isn't": ("name: x\nturns: [hang_up: no]\n", "2: .*should be True, not False"),
    "too much": (f"{HELLO}# {'x' * document.LARGEST_BYTES}\n", " it is larger than 256 kB"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line(tmp_path: Path, mistake: str) -> None:
    """The file, the line of text, what is wrong, how to mend it."""
    text, told = MISTAKES[mistake]
    with pytest.raises(ScenarioError, match=rf"a\.yaml:.*{told}") as refused:
        _load(tmp_path, text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    """A folder, a pipe that nobody writes to, a device without end, nothing."""
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path, tmp_path / "pipe.yaml", tmp_path.__class__("/dev/zero")):
        with pytest.raises(ScenarioError, match="a folder or a pipe"):
            load_scenario(path)
    with pytest.raises(ScenarioError, match="cannot read the scenario: no such file"):
        load_scenario(tmp_path / "gone.yaml")
    with pytest.raises(DocumentError, match="cannot read the scenario: file name too long"):
        read(tmp_path / ("long" * 100))


def test_meaning_leaves_other_values() -> None:
    """Text in quotes, and what isn't text at all."""
    values: list[Any] = ["4", 4, None, [Written("4"), "4"], {"a": Written("4")}]
    assert [meaning(each) for each in values] == ["4", 4, None, [4, "4"], {"a": 4}]


PARTS = (
    *("name: x\n", "turns:\n", "  - text: hi\n", "    expect: {reply: a, tool: b, arguments: {"),
    *(
        "}}",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ": ",
        ", ",
        "&a ",
        "*a ",
        "!!str ",
        "!foo ",
        "!<x> ",
        "---\n",
    ),
    *("%YAML 1.1\n", "%YAML 99999999999999999999999.1\n", "%TAG ! x\n", "...\n", '"\\U99999999"'),
    *('"\\UFFFFFFFF"', '"\\ud83d"', '"\\x', "'", '"', "|", ">", "|2\n", ">9-\n", "?", "<<: *a\n"),
    *("~", "null", "1e999", ".nan", "0x", "\t", "\r", "\n", "  ", "\u2028", "\x85", "\ufeff", "@"),
    *("`", "#", "silence: ", "hang_up: ", "user: ", "start: {", "tags: {", "line: {snr_db: "),
    *("9" * 30, "yes", "12:30", "=", "<<", "outcome: ", "say: ", "words: ", "\0", "\x7f", "é"),
    *("reply: ((", "!!binary x", "!!timestamp 1", "!!set {a}", "!!omap [a: 1]", "!!float x"),
)


@seed(7)
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.booleans(), st.lists(st.sampled_from(PARTS), max_size=25))
def test_nothing_that_is_written_is_a_traceback(
    tmp_path: Path, begun: bool, parts: list[str]
) -> None:
    """Whatever is put together of YAML's signs is a scenario, or one line of text."""
    said = ""
    try:
        _load(tmp_path, HELLO * begun + "".join(parts))
    except ScenarioError as refused:
        said = str(refused)
    assert "\n" not in said
