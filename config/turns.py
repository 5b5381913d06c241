"""Settings of who speaks when: the end of a caller's turn, and silence after it."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

LONGEST_SECONDS: Final = 10
"""The longest delay before a caller is answered."""

SILENCE_TIMEOUT: Any = Field(
    8.0,
    ge=0,
    allow_inf_nan=False,
    validation_alias="PARLEY_SILENCE_TIMEOUT",
    description="Seconds of mutual silence until the caller is asked again; 0 for never.",
)
TURN_DETECTION: Any = Field(
    "words",
    validation_alias="PARLEY_TURN_DETECTION",
    description="The judge of whether a caller who pauses has finished: `words`, the grammar of "
    "what was said (English); `model`, LiveKit's turn detector, which listens to the voice (14 "
    "languages, 255 MB); `vad`, nothing but the length of the silence.",
)
ENDPOINTING: Any = Field(
    "fixed",
    validation_alias="PARLEY_ENDPOINTING",
    description="`dynamic` lengthens PARLEY_ENDPOINTING_MIN_DELAY for callers whose pauses are "
    "longer.",
)
MIN_DELAY: Any = Field(
    None,
    gt=0,
    le=LONGEST_SECONDS,
    allow_inf_nan=False,
    validation_alias="PARLEY_ENDPOINTING_MIN_DELAY",
    description="Seconds of silence before a caller is answered; when not set, what suits "
    "PARLEY_TURN_DETECTION and the recogniser. `parley tune` measures others.",
)
MAX_DELAY: Any = Field(
    None,
    gt=0,
    le=LONGEST_SECONDS,
    allow_inf_nan=False,
    validation_alias="PARLEY_ENDPOINTING_MAX_DELAY",
    description="Seconds of silence before a caller is answered who doesn't seem to have finished; "
    "likewise. No effect with PARLEY_TURN_DETECTION=vad, where nobody judges that, unless "
    "PARLEY_ENDPOINTING is `dynamic`, which lengthens the other delay up to it.",
)
