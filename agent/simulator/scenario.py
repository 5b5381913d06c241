"""The script of a simulated caller, with its expectations: the models of a scenario file.

A scenario is YAML; ``config/scenarios/README.md`` is the language's reference, and the models'
own docstrings are what an editor shows (:func:`agent.simulator.loading.schema`). Validating a
scenario reads its recordings too: one that loads can be run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    InstanceOf,
    PositiveInt,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from agent.gateway import protocol
from agent.session.line import Outcome
from agent.simulator.audio import SAMPLE_RATE_HZ, read_speech
from agent.simulator.document import Written, meaning
from agent.simulator.expect import Expect, Model
from agent.simulator.impairment import Conditions
from agent.simulator.sentence import Sentence

LONGEST_PAUSE_MS: Final = 10_000
"""Length of a pause within a turn, at most: a longer one is a turn of silence."""


def _read(given: object, info: ValidationInfo) -> Sentence:
    folder: Path = info.context["folder"] if info.context else Path()
    pieces = given if isinstance(given, list) else [given]
    names = [name for name in pieces[::2] if isinstance(name, str)]
    pauses = [meaning(pause) for pause in pieces[1::2]]
    if len(names) != len(pauses) + 1:
        raise ValueError(_SAID)
    for ms in pauses:
        if type(ms) is not int:
            raise ValueError(_SAID)
        if not 0 < ms <= LONGEST_PAUSE_MS:
            raise ValueError(f"a pause has to be 1 to {LONGEST_PAUSE_MS} ms, not {ms}")
    return Sentence(tuple(read_speech(folder / name) for name in names), tuple(pauses))


_SAID: Final = (
    "has to be the path of a recording, or of several with pauses (ms) between them, as in "
    "[audio/a.wav, 600, audio/b.wav]"
)
_Said = Annotated[
    InstanceOf[Sentence],
    BeforeValidator(_read),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
            ]
        }
    ),
]
Kind = Literal["spoken", "typed", "silent", "hang_up"]
"""Kind of a turn."""
Plain = Annotated[str | int | float | bool | None, BeforeValidator(meaning)]
"""A field's value where no more is known of it."""


class _Turn(Model):
    wait_for: Literal["agent", "greeting", "nothing"] = "agent"
    """Event that the caller waits for. agent: the agent has answered and is quiet; greeting: the
    same, before the first turn only; nothing: it doesn't wait and talks over the agent."""
    barge_in_ms: Annotated[int, Field(ge=0)] | None = None
    """Time of the turn instead of wait_for: so many ms after the agent's speech (the current one,
    else the next) became audible."""
    pause_ms: Annotated[int, Field(ge=0)] = 200
    """Pause after the event it waited for. People leave each other a gap of about 200 ms."""

    @model_validator(mode="after")
    def _begins_once(self) -> _Turn:
        if self.barge_in_ms is not None:
            for name in ("wait_for", "pause_ms"):
                if name in self.model_fields_set:
                    raise ValueError(f"barge_in_ms says when already: leave out {name}")
        return self

    def _expects_none_of(self, expect: Expect, names: tuple[str, ...], why: str) -> None:
        for name in names:
            if name in expect.model_fields_set:
                raise ValueError(f"{name} {why}")


class SpokenTurn(_Turn):
    """A turn said aloud."""

    kind: ClassVar[Kind] = "spoken"

    say: _Said
    """A recording (WAV, FLAC, MP3, Ogg, …), its path relative to the scenario. Or several with
    pauses between them, in ms: [audio/a.wav, 600, audio/b.wav]. Who takes such a pause for the end
    cuts the caller off."""
    words: str
    """Words said in all of it; empty when it is a noise: nothing is to be recognised."""
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _words_are_words(self) -> SpokenTurn:
        if self.words and not re.search(r"\w", self.words):
            raise ValueError('words has no word in it: give what is said, or "" for a noise')
        return self

    @property
    def doing(self) -> str:
        """Description of the turn, for people to read."""
        return self.words or f"({self.say.path.stem})"

    @property
    def wants_answer(self) -> bool:
        """True when the agent has to answer it."""
        return not self.expect.no_reply


class TypedTurn(_Turn):
    """A turn typed."""

    kind: ClassVar[Kind] = "typed"

    text: Annotated[str, Field(min_length=1)]
    """Text that is typed."""
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _nothing_to_measure_from(self) -> TypedTurn:
        self._expects_none_of(
            self.expect,
            ("within_ms",),
            "is measured from the caller's voice: a typed turn has none",
        )
        return self

    @property
    def words(self) -> str:
        """Words of the turn: the text that is typed."""
        return self.text

    @property
    def doing(self) -> str:
        """Description of the turn, for people to read."""
        return self.text

    @property
    def wants_answer(self) -> bool:
        """True when the agent has to answer it."""
        return not self.expect.no_reply


class SilentTurn(_Turn):
    """A turn in which the caller says nothing, its microphone open."""

    kind: ClassVar[Kind] = "silent"

    silence: PositiveInt
    """Length of the silence in ms. The agent may speak meanwhile (see expect), but need not."""
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _nothing_to_measure_from(self) -> SilentTurn:
        self._expects_none_of(
            self.expect,
            ("within_ms", "interruption"),
            "needs something said: a silent turn has nothing",
        )
        return self

    @property
    def words(self) -> str:
        """No words."""
        return ""

    @property
    def doing(self) -> str:
        """Description of the turn, for people to read."""
        return f"(silence, {self.silence / 1000:g} s)"

    @property
    def wants_answer(self) -> bool:
        """True when the agent has to say something: only if that is expected."""
        return self.expect.reply is not None


def _truth(value: object) -> object:
    """The truth that is written, in any of YAML's words for it."""
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    return words.get(value.casefold(), value) if isinstance(value, Written) else value


class HangUpTurn(_Turn):
    """A turn in which the caller hangs up: the last one."""

    kind: ClassVar[Kind] = "hang_up"

    hang_up: Annotated[Literal[True], BeforeValidator(_truth)]
    """True, always."""

    @property
    def words(self) -> str:
        """No words."""
        return ""

    @property
    def expect(self) -> Expect:
        """No expectations: nobody is there to hear an answer."""
        return Expect()

    @property
    def doing(self) -> str:
        """Description of the turn, for people to read."""
        return "(hangs up)"

    @property
    def wants_answer(self) -> bool:
        """False: nobody is there to hear it."""
        return False


_KINDS: Final[Mapping[str, Kind]] = {
    "say": "spoken",
    "text": "typed",
    "silence": "silent",
    "hang_up": "hang_up",
}


def _kind_of_turn(turn: object) -> Kind | None:
    match turn:
        case SpokenTurn() | TypedTurn() | SilentTurn() | HangUpTurn():
            return turn.kind
        case Mapping():
            kinds = [kind for name, kind in _KINDS.items() if name in turn]
            return kinds[0] if len(kinds) == 1 else None
    return None


Turn = Annotated[
    Annotated[SpokenTurn, Tag("spoken")]
    | Annotated[TypedTurn, Tag("typed")]
    | Annotated[SilentTurn, Tag("silent")]
    | Annotated[HangUpTurn, Tag("hang_up")],
    Discriminator(
        _kind_of_turn,
        custom_error_type="turn",
        custom_error_message="a turn has one of say (a recording, with words), text, silence (ms) "
        "and hang_up",
    ),
]


def _kept(value: Any) -> Any:
    """The meaning of a value that is passed on: a number only if no digit of it is lost."""
    found = meaning(value)
    lossless = not isinstance(found, float) or repr(found) == value
    return found if lossless else str(value)


class Start(Model):
    """The caller's words about itself when it calls."""

    user: dict[str, Annotated[Any, BeforeValidator(_kept)]] | None = None
    """User who calls."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags of the conversation."""

    @model_validator(mode="after")
    def _fits_the_protocol(self) -> Start:
        try:
            self.message("id")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise ValueError(f"{field}: {first['msg'].removeprefix('Value error, ')}") from None
        return self

    def message(
        self, conversation: str, headers: Mapping[str, str] | None = None
    ) -> protocol.Start:
        """The message that opens a call, with the trace headers of the span that makes it."""
        return protocol.Start(
            sample_rate=SAMPLE_RATE_HZ,
            id=conversation,
            user=self.user,
            tags=self.tags,
            headers=dict(headers or {}),
        )


class Line(Model):
    """The line between caller and agent: its effects on the caller's audio."""

    snr_db: float | None = None
    """Level of the caller's speech over the noise, in dB."""
    loss: float = 0.0
    """Share of the frames that are lost, up to a half."""
    jitter_ms: float = 0.0
    """Lateness of frames, at most; they stay in order."""
    gap_ms: float = 0.0
    """Length of the gaps in which, now and then, the line is dead."""
    clip_start_ms: float = 0.0
    """Length of the start that is cut from everything the caller says."""
    echo_db: float | None = None
    """Level of the echo of the agent's own speech, over the original (negative: fainter)."""

    @model_validator(mode="after")
    def _is_possible(self) -> Line:
        _ = self.conditions
        return self

    @property
    def conditions(self) -> Conditions:
        """The conditions for an :class:`~agent.simulator.impairment.Impairment`."""
        return Conditions(**self.model_dump())


class Scenario(Model):
    """A scripted conversation."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    """Letters, digits, - and _."""
    description: str = ""
    """Subject of the conversation."""
    start: Start = Start()
    """The caller's words about itself when it calls."""
    turns: tuple[Turn, ...]
    """Turns of the caller, one after the other."""
    line: Line = Line()
    """Faults of the line; ``parley simulate --line`` overrides them."""
    reservations: tuple[Mapping[str, Plain], ...] | None = None
    """Reservations that the conversation must leave in the book: for each entry at least one of
    its own matches. An empty list: it must leave none."""
    outcome: Outcome | None = None
    """Outcome that the call must have; the caller waits for it. Without it the caller hangs up
    after the last reply."""

    @model_validator(mode="after")
    def _turns_are_in_order(self) -> Scenario:
        if not self.turns:
            raise ValueError("turns is empty: a caller has to say something")
        if any(turn.wait_for == "greeting" for turn in self.turns[1:]):
            raise ValueError("only the first turn can wait for the greeting: use agent")
        if any(isinstance(turn, HangUpTurn) for turn in self.turns[:-1]):
            raise ValueError("hang_up has to be the last turn")
        if self.hangs_up and self.outcome not in {None, Outcome.HUNG_UP}:
            raise ValueError("a caller that hangs up ends the call as hung_up: leave out outcome")
        return self

    @property
    def speech(self) -> bytes:
        """Audio of all that is said in it, PCM16."""
        return b"".join(turn.say.pcm for turn in self.turns if isinstance(turn, SpokenTurn))

    @property
    def hangs_up(self) -> bool:
        """True when the caller ends the call as part of the script."""
        return isinstance(self.turns[-1], HangUpTurn)
