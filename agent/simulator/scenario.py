"""What a simulated caller says, and what it expects: a YAML file.

.. code-block:: yaml

    name: booking                  # letters, digits, - and _
    description: A table for four, in several turns
    start: {user: {id: u1}, tags: {tenant: acme}}   # optional: who calls
    outcome: completed             # optional: how it must end; the caller waits for it. Without
                                   # it the caller hangs up after the last reply.
    turns:
      - say: audio/booking-1.wav   # 16 kHz mono PCM16, beside this file
        words: A table please.     # what is said in it
        wait_for: greeting         # optional; agent (the default): until the agent has spoken and
                                   # is quiet; greeting: the same, before the first turn only;
                                   # nothing: don't wait, talk over the agent
        pause_ms: 200              # optional: this long after what it waited for
        expect:
          reply: how many          # regular expression, any case, in the agent's words
          tool: book               # a tool called between this turn and the next
          arguments: {party: 4}    # and some of its arguments
          within_ms: 4000          # response latency at the caller, at most
      - text: Four people          # typed, not spoken

Loading a scenario reads its recordings too: what loads can be run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    InstanceOf,
    PositiveInt,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from agent.errors import InputError
from agent.gateway import protocol
from agent.session.line import Outcome  # noqa: TC001 - pydantic reads it at run time
from agent.simulator.audio import SAMPLE_RATE, Speech, read_speech


class ScenarioError(InputError):
    """A scenario can't be used. One line: the file, the line, the field, what is wrong with it."""


def _compile(pattern: object) -> re.Pattern[str]:
    if not isinstance(pattern, str):
        raise ValueError("has to be a regular expression, in quotes")  # noqa: TRY004 - pydantic's
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error


def _read(name: object, info: ValidationInfo) -> Speech:
    if not isinstance(name, str):
        raise ValueError("has to be the path of a WAV file")  # noqa: TRY004 - pydantic's protocol
    folder: Path = info.context["folder"] if info.context else Path()
    return read_speech(folder / name)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Expect(_Model):
    """What must follow a turn; every part is optional."""

    reply: Annotated[re.Pattern[str], BeforeValidator(_compile)] | None = None
    tool: str | None = None
    arguments: Mapping[str, Any] = Field(default_factory=dict)
    within_ms: PositiveInt | None = None

    @model_validator(mode="after")
    def _arguments_of_a_tool(self) -> Expect:
        if self.arguments and self.tool is None:
            raise ValueError("arguments need the tool they are given to: add tool")
        return self

    def called(self, tool: str, arguments: str) -> bool:
        """Whether a call, its arguments as JSON, is the expected one.

        Words are compared in any case: speech has none.
        """
        if tool != self.tool:
            return False
        try:
            given = json.loads(arguments or "{}")
        except ValueError:
            return False
        return isinstance(given, dict) and all(
            name in given and _fold(given[name]) == _fold(value)
            for name, value in self.arguments.items()
        )


def _fold(value: object) -> object:
    return value.casefold() if isinstance(value, str) else value


class _Turn(_Model):
    wait_for: Literal["agent", "greeting", "nothing"] = "agent"
    pause_ms: Annotated[int, Field(ge=0)] = 200
    """People leave each other a gap of about 200 ms."""
    expect: Expect = Expect()


class SpokenTurn(_Turn):
    """A turn said aloud."""

    say: Annotated[InstanceOf[Speech], BeforeValidator(_read)]
    words: Annotated[str, Field(pattern=r"\w")]


class TypedTurn(_Turn):
    """A turn typed."""

    text: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _nothing_to_measure_from(self) -> TypedTurn:
        if self.expect.within_ms is not None:
            raise ValueError("within_ms is measured from the caller's voice: a typed turn has none")
        return self

    @property
    def words(self) -> str:
        """What is typed."""
        return self.text


def _kind_of_turn(turn: object) -> str | None:
    match turn:
        case SpokenTurn() | {"say": _}:
            return None if isinstance(turn, Mapping) and "text" in turn else "spoken"
        case TypedTurn() | {"text": _}:
            return "typed"
    return None


Turn = Annotated[
    Annotated[SpokenTurn, Tag("spoken")] | Annotated[TypedTurn, Tag("typed")],
    Discriminator(
        _kind_of_turn,
        custom_error_type="turn",
        custom_error_message="a turn has either say (a WAV file) and words, or text",
    ),
]


class Start(_Model):
    """What the caller says about itself when it calls."""

    user: dict[str, Any] | None = None
    tags: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_the_protocol(self) -> Start:
        try:
            self.message("id")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise ValueError(f"{field}: {first['msg'].removeprefix('Value error, ')}") from None
        return self

    def message(self, conversation: str) -> protocol.Start:
        """The message that opens a call."""
        return protocol.Start(
            sample_rate=SAMPLE_RATE, id=conversation, user=self.user, tags=self.tags
        )


class Scenario(_Model):
    """A scripted conversation."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str = ""
    start: Start = Start()
    turns: tuple[Turn, ...]
    outcome: Outcome | None = None

    @model_validator(mode="after")
    def _turns_are_in_order(self) -> Scenario:
        if not self.turns:
            raise ValueError("turns is empty: a caller has to say something")
        if any(turn.wait_for == "greeting" for turn in self.turns[1:]):
            raise ValueError("only the first turn can wait for the greeting: use agent")
        return self

    @property
    def spoken(self) -> bool:
        """Whether anything in it is said aloud."""
        return any(isinstance(turn, SpokenTurn) for turn in self.turns)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario and its recordings. Raises :class:`ScenarioError`."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        document = loader.construct_document(node) if node else None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ScenarioError(f"{path}: cannot read the scenario: {reason.lower()}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: a scenario is text in UTF-8: {error.reason}") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ScenarioError(f"{path}{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if node is None or not isinstance(document, dict):
        raise ScenarioError(f"{path}:1: a scenario is a mapping with a name and turns")
    try:
        return Scenario.model_validate(document, context={"folder": path.parent})
    except ValidationError as error:
        raise ScenarioError(f"{path}:{_explain(error, node)}") from error


def find_scenarios(names: Sequence[str], shipped: Mapping[str, Path]) -> list[Scenario]:
    """Load scenarios by the name of a shipped one or by path; all shipped ones when none is named.

    Raises :class:`ScenarioError`, for an unknown name too: it lists the known ones.
    """
    paths = []
    for name in names or shipped:
        path = shipped.get(name, Path(name))
        if name not in shipped and path.suffix not in {".yaml", ".yml"}:
            known = ", ".join(sorted(shipped)) or "none is shipped"
            raise ScenarioError(
                f"unknown scenario {name!r}: known are {known}; or give the path of a .yaml file"
            )
        paths.append(path)
    return [load_scenario(path) for path in paths]


_FIELDS: Final[Mapping[str | int, type[BaseModel]]] = {
    "spoken": SpokenTurn,
    "typed": TypedTurn,
    "expect": Expect,
    "start": Start,
}
"""The model at the end of a pydantic location; the scenario itself is at the empty one."""


def _explain(error: ValidationError, root: yaml.Node) -> str:
    """``line: field: what is wrong``, for the first thing that is."""
    first, *more = error.errors(include_url=False)
    location = first["loc"]
    line, field = _locate(location, root)
    match first["type"]:
        case "missing":
            wrong = f"{location[-1]} is missing"
        case "extra_forbidden":
            model = _FIELDS.get(location[-2], Scenario) if len(location) > 1 else Scenario
            wrong = f"unknown field; allowed are {', '.join(model.model_fields)}"
        case "value_error" | "turn":
            wrong = first["msg"].removeprefix("Value error, ")
        case _:
            wrong = f"{first['msg'].replace('Input', 'it')}, not {first['input']!r:.60}"
    others = f" (and {len(more)} more)" if more else ""
    return f"{line}: {field}{': ' if field else ''}{wrong}{others}"


def _locate(location: Sequence[str | int], node: yaml.Node) -> tuple[int, str]:
    """The line of a pydantic location, and its field as it is written: ``turns[0].expect.reply``.

    What isn't in the document (a missing field, the tag of a union) is passed over, which leaves
    the line of what it is missing from.
    """
    line, field = node.start_mark.line + 1, ""
    for step in location:
        match node, step:
            case yaml.SequenceNode(), int() if step < len(node.value):
                node = node.value[step]
                line, field = node.start_mark.line + 1, f"{field}[{step}]"
            case yaml.MappingNode(), str():
                for key, value in node.value:
                    if key.value == step:
                        node = value
                        line = key.start_mark.line + 1
                        field = f"{field}.{step}" if field else step
                        break
            case _:
                break
    return line, field
