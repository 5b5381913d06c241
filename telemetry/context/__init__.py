"""The spans that are current, in each task, thread, callback and async generator.

==============  ==============================================================================
``chain``       the current span of this context, entered and left: the only place that knows
``generators``  async generators that are inside a block, and which of them is executing
``origin``      the conversation that an exception comes from
``wording``     the texts of an exception, taken when it is handed over
``place``       the task or thread that something runs in, and when that means nothing
``surfacing``   errors that an event loop reports, in the context they are of
``scopes``      Sentry's scopes: whose span they show, and copies of them
``node``        spans, their owners and their markers in Sentry's scope, as a chain sees them
==============  ==============================================================================
"""

from __future__ import annotations
