"""In-memory delivery, for tests: what would have been sent, and trees as text.

=============  ==================================================================
``captured``   the deliveries of a block, as events, errors, spans and trees
``segments``   streamed spans as the transactions they would have been
``agreement``  compares a LiveKit session's own history with its trace
=============  ==================================================================

::

    with telemetry.testing.capture() as captured:
        with telemetry.conversation("host"), telemetry.span("gen_ai.chat", "reply"):
            ...
    [transaction] = captured.transactions
    assert captured.tree(transaction) == "conversation host\\n└─ gen_ai.chat reply"
"""

from __future__ import annotations

from .agreement import Agreement, agrees
from .captured import Captured, capture

__all__ = ["Agreement", "Captured", "agrees", "capture"]
