"""What of a text stands in the code that made it."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import TYPE_CHECKING, Any

import pytest

from telemetry.frozen import frozen
from telemetry.written import Author, Tag, Written, here, raisers

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_UP = "look up"
JOINED = " ".join(("not", "a", "literal"))


class Closed(Exception):  # noqa: N818 - as an application names it
    """Makes its own message."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no table for {name}, sorry")


def _f_string(said: str) -> None:
    raise ValueError(f"no table for {said!r}")


def _percent(said: str) -> None:
    raise KeyError("no such %s in it" % said)  # noqa: UP031 - that is the case


def _format(said: str) -> None:
    raise RuntimeError("table {} is {}".format(said, 7))  # noqa: UP032 - that is the case


def _literal(_: str) -> None:
    raise RuntimeError("the kitchen is closed")


def _earlier(_: str) -> None:
    message = "the kitchen is closed"
    raise RuntimeError(message)


def _compared(said: str) -> None:
    if said in ("pizza",):
        raise RuntimeError(said)


def _own(said: str) -> None:
    raise Closed(said)


def _missing(_: str) -> None:
    _ = None.foo  # type: ignore[attr-defined]


def _asked(said: str) -> None:
    getattr(None, said)


def _parsed(said: str) -> None:
    int(said)


def _noted(said: str) -> None:
    error = ValueError("the kitchen is closed")
    error.add_note(f"for {said}")
    raise error


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        (_f_string, "no table for [Filtered]"),
        (_percent, "'no such [Filtered] in it'"),
        (_format, "table [Filtered] is [Filtered]"),
        (_literal, "the kitchen is closed"),
        (_earlier, "the kitchen is closed"),
        (_compared, "[Filtered]"),
        (_own, "there is no table for [Filtered], sorry"),
        (_missing, "'NoneType' object has no attribute 'foo'"),
        (_asked, "[Filtered]"),
        (_parsed, "[Filtered]"),
        (_noted, "the kitchen is closed\n[Filtered]"),
    ],
)
def test_of_a_message_what_raised_it_says(fail: Callable[[str], None], code: str) -> None:
    """The constants of the statement; a word that is compared with is not said by it."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is
        fail("pizza")
    error = raised.value
    text = "\n".join([str(error), *getattr(error, "__notes__", [])])
    assert Written(text, *raisers(error)[:1], *raisers(error)[-3:]).code == code


def test_names_are_constants_of_a_function_or_named_by_it() -> None:
    """A constant is a literal where it is given its name."""
    assert _named("a literal").is_code
    assert _named(LOOK_UP).is_code
    assert not _named(JOINED).is_code
    assert not _named("another").is_code


def _named(text: str) -> Written:
    return Written(text, Author(_names.__code__))


def _names() -> tuple[str, ...]:
    return LOOK_UP, JOINED, "a literal"


def test_what_is_known_to_be_nobodys_stays_in_the_message() -> None:
    """An id, where it stands."""
    number = "-".join(("c", "1"))
    text = Written(f"entered {number}", *_places(f"entered {number}"))
    assert text.code == "entered [Filtered]"
    assert text.code_around({number}) == text


def _places(_: str) -> tuple[Author, ...]:
    frame = sys._getframe(1)
    return (Author(frame.f_code, frame.f_lasti),)


def test_what_somebody_made_up_is_no_name() -> None:
    """However much it looks like one."""
    name = Written.made_up("find_a_table")
    assert (name, name.code, name.is_code) == ("find_a_table", "[Filtered]", False)


def test_it_is_a_text_to_everybody_else() -> None:
    """Equal, hashed, joined, copied and pickled as one; frozen and copied it goes on knowing."""
    text = Written("the kitchen", code="the kitchen")
    assert text == "the kitchen"
    assert hash(text) == hash("the kitchen")
    assert type(f"{text}!") is str
    assert type(pickle.loads(pickle.dumps(text))) is str  # noqa: S301 - our own
    assert copy.deepcopy(text) is text
    assert frozen(text) is text
    assert str(text) is text
    tag: Any = frozen(Tag(text))
    assert tag.tag is text


def test_the_author_is_outside_of_telemetry() -> None:
    """Whoever called it."""
    [author] = here()
    assert author.code is sys._getframe().f_code
