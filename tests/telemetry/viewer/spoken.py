"""A spoken conversation as telemetry records one, and recordings of it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np

from telemetry import attributes as names
from telemetry.records import AudioRecord, ConversationRecord, SpanRecord
from telemetry.store import TraceStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

START: Final = 1_795_000_000.0
TRACE: Final = "a" * 32
ROOT: Final = "f" * 16
RATE: Final = 48_000
SOUND: Final = {
    "left": [(2.0, 2.6), (2.9, 3.5)],
    "right": [(0.25, 1.5), (4.3, 6.0)],
}
"""When the caller and the agent are heard in :func:`recorded`, in seconds."""


class Spans:
    """Makes spans with ids of their own, at seconds from the start."""

    def __init__(self) -> None:
        self.made: list[SpanRecord] = []

    def add(
        self,
        op: str,
        at: float,
        until: float,
        parent: str | None = ROOT,
        name: str = "",
        status: str = "ok",
        **fields: Any,
    ) -> str:
        """Add a span; its id."""
        span_id = fields.pop("span_id", None) or f"{len(self.made) + 1:016x}"
        self.made.append(
            SpanRecord(
                span_id,
                parent,
                op,
                name or op,
                START + at,
                START + until,
                status=status,
                attributes=fields.pop("attributes", {}),
                **fields,
            )
        )
        return str(span_id)


def conversation(**fields: Any) -> ConversationRecord:
    """A greeting, a question that is answered after 0.8 s and cut short, and a typed one."""
    spans = Spans()
    spans.add(
        names.OP_CONVERSATION,
        0,
        10,
        None,
        span_id=ROOT,
        attributes={names.CONVERSATION_OUTCOME: "completed", names.CONVERSATION_TURNS: 3},
    )
    greeting = spans.add(
        names.OP_TURN,
        0.2,
        1.5,
        attributes={names.TURN_INDEX: 0, names.TURN_INITIATOR: "agent", names.AGENT_WORDS: "Hi."},
    )
    spans.add(names.OP_AGENT_SPEECH, 0.2, 1.5, greeting, attributes={names.AGENT_WORDS: "Hi."})
    question = spans.add(
        names.OP_TURN,
        2.1,
        6.0,
        attributes={
            names.TURN_INDEX: 1,
            names.USER_WORDS: "Are you open? On Sunday.",
            names.AGENT_WORDS: "We are open from noon",
            names.INTERRUPTED: True,
            names.INTERRUPTED_BY: "user",
        },
    )
    frame = spans.add("livekit.user_turn", 2.1, 4.0, question)
    spans.add(names.OP_USER_SPEECH, 2.1, 2.6, frame)
    spans.add(names.OP_USER_SPEECH, 2.95, 3.5, frame)
    spans.add(
        names.OP_STT, 3.5, 3.9, question, attributes={names.USER_WORDS: "Are you open? On Sunday."}
    )
    response = spans.add(
        names.OP_RESPONSE,
        3.5,
        4.3,
        question,
        attributes={names.RESPONSE_LATENCY: 0.8, names.CALLER_GAP: 0.81},
    )
    for stage, at, until in (
        ("endpointing", 3.5, 3.8),
        ("llm", 3.8, 3.9),
        ("tools", 3.9, 4.0),
        ("unexplained", 4.0, 4.1),
        ("llm", 4.1, 4.15),
        ("synthesis", 4.15, 4.3),
    ):
        spans.add(f"{names.OP_RESPONSE}.{stage}", at, until, response, stage)
    invoke = spans.add(names.OP_INVOKE_AGENT, 3.8, 6.0, question)
    spans.add(names.OP_TOOL, 3.9, 4.0, invoke, "hours", status="internal_error")
    spans.add(
        names.OP_AGENT_SPEECH,
        4.25,
        6.0,
        invoke,
        attributes={names.AGENT_WORDS: "We are open from noon", names.INTERRUPTED: True},
    )
    typed = spans.add(
        names.OP_TURN,
        7.0,
        9.0,
        attributes={names.TURN_INDEX: 2, names.USER_WORDS: "Bye", names.AGENT_WORDS: "Goodbye."},
    )
    spans.add(names.OP_AGENT_SPEECH, 7.5, 9.0, typed, attributes={names.AGENT_WORDS: "Goodbye."})
    return ConversationRecord(
        **{
            "id": "c-1",
            "trace_id": TRACE,
            "name": "call",
            "started_at": START,
            "ended_at": START + 10,
            "status": "ok",
            "spans": tuple(spans.made),
            **fields,
        }
    )


def write(path: Path, sound: Mapping[str, Sequence[tuple[float, float]]], seconds: float) -> None:
    """Write a recording in which each side is heard at these times: a tone at a third of full
    scale."""
    pcm = np.zeros((round(seconds * RATE), 2), np.int16)
    for column, side in enumerate(("left", "right")):
        for at, until in sound[side]:
            first, last = round(at * RATE), round(until * RATE)
            tone = np.sin(2 * np.pi * 220 * np.arange(last - first) / RATE)
            pcm[first:last, column] = (11_000 * tone).astype(np.int16)
    with av.open(str(path), "w", format="ogg") as file:
        stream = file.add_stream("libopus", rate=RATE, layout="stereo")
        for first in range(0, len(pcm), 960):
            samples = np.ascontiguousarray(pcm[first : first + 960].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def recorded(path: Path, record: ConversationRecord, *, late: float = 0.0) -> TraceStore:
    """A store with this conversation and a recording of it that begins so many seconds late."""
    store = TraceStore(path)
    store.close_conversation(record)
    store.audio_folder.mkdir()
    sound = {
        side: [(at - late, until - late) for at, until in times] for side, times in SOUND.items()
    }
    write(store.audio_folder / "one.ogg", sound, 10 - late)
    store.add_recording(record, AudioRecord("one.ogg", START + late, 10 - late, 2))
    store.close()
    return store
