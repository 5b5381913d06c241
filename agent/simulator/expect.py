"""A scenario's expectations of a turn, and the base of all models of the language."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping  # noqa: TC003 - pydantic reads it at run time
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

from agent.simulator.document import Written, meaning


def _compile(pattern: object) -> re.Pattern[str]:
    if not isinstance(pattern, str):
        raise ValueError("has to be a regular expression, in quotes")  # noqa: TRY004 - pydantic's
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error


_Pattern = Annotated[
    re.Pattern[str],
    BeforeValidator(_compile),
    WithJsonSchema({"type": "string", "format": "regex"}),
]


class Model(BaseModel):
    """A frozen model with no field too many; an editor shows the docstrings of its fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


Meant = Annotated[Any, BeforeValidator(meaning)]
"""A value of a field that has no type of its own."""


class Expect(Model):
    """Expectations of a turn; every part is optional."""

    reply: _Pattern | None = None
    """Regular expression, any case, found in the agent's words."""
    no_reply: bool = False
    """The agent must not answer this turn: a cough, "mm-hm", a silence it has to bear."""
    tool: str | None = None
    """A tool called between this turn and the next."""
    arguments: Mapping[str, Meant] = Field(default_factory=dict)
    """Some of the tool's arguments; words match in any case."""
    tool_ok: bool = True
    """True if the tool must succeed, false if it must fail."""
    within_ms: PositiveInt | None = None
    """Response latency at the caller, at most: its last voiced sample to the agent's first."""
    interruption: Literal["stops", "resumes", "none"] | None = None
    """Effect of the turn on the agent's speech, from the audio: it stops, it pauses and goes on
    where it was, or it goes on as if nothing was said."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Expect:
        if self.arguments and self.tool is None:
            raise ValueError("arguments need the tool they are given to: add tool")
        if not self.tool_ok and self.tool is None:
            raise ValueError("tool_ok needs the tool that is to fail: add tool")
        if self.no_reply:
            for name in ("reply", "tool", "within_ms"):
                if getattr(self, name) is not None:
                    raise ValueError(f"no_reply and {name} exclude each other: leave one out")
        return self

    def called(self, tool: str, arguments: str) -> bool:
        """True when a call, its arguments as JSON, is the expected one.

        Words are compared in any case: speech has none.
        """
        if tool != self.tool:
            return False
        try:
            given = json.loads(arguments or "{}")
        except ValueError:
            return False
        return isinstance(given, dict) and includes(given, self.arguments)


def includes(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """True when every wanted field is given, with the same value; words match in any case."""
    return all(name in given and _same(given[name], value) for name, value in wanted.items())


def _same(given: object, wanted: object) -> bool:
    if isinstance(given, bool) and isinstance(wanted, Written):
        return given is _TRUTHS.get(wanted.casefold())
    return _fold(given) == _fold(wanted)


def _fold(value: object) -> object:
    return value.casefold() if isinstance(value, str) else value


_TRUTHS: Final = {"yes": True, "on": True, "no": False, "off": False}
"""Words that mean a truth where one was given."""
