"""The common part of the tools of the desk's agents: their arguments, and their failures."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from livekit.agents import llm
from pydantic import Field, ValidationError

from agent.desk.client import ReservationsError

if TYPE_CHECKING:
    from collections.abc import Iterator

Name = Annotated[str, Field(description="The name the reservation is under")]
Date = Annotated[str, Field(description="The day, as in 2026-11-27")]
Time = Annotated[str, Field(description="The time on a 24-hour clock, as in 19:30")]
Party = Annotated[int, Field(description="How many people")]
On = Annotated[
    str | None,
    Field(description="The day of the reservation meant, if there are several under that name"),
]


@contextmanager
def speakable() -> Iterator[None]:
    """Turn an error inside into a sentence for the model, or for the caller."""
    try:
        yield
    except ReservationsError as error:
        raise llm.ToolError(str(error)) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = ".".join(str(part) for part in first["loc"])
        raise llm.ToolError(f"I'm sorry, I did not get the {what} right: {first['msg']}") from error
