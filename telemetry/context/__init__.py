"""The spans that are current, in each task, thread, callback and async generator.

==============  ==============================================================================
``chain``       the current span of this context, entered and left: the only place that knows
``generators``  async generators that are inside a block, and which of them is executing
``scopes``      copies of Sentry's scopes, taken without ever waiting
``marker``      the objects in Sentry's scope that stand for our spans
``node``        spans, and their owners, as a chain sees them
==============  ==============================================================================
"""

from __future__ import annotations
