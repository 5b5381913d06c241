"""The thread that makes what is sent, its lanes to Sentry and to the store, and what calls give it.

===============  =============================================================================
``outbox``       takes what calls hand over, without ever waiting
``messages``     the things that are handed over
``nowhere``      stands in before ``init``: takes everything and keeps nothing
``thread``       the thread
``queue_transport``  the SDK's way to it
``lanes``        threads that wait for Sentry
``store_lane``   the thread that writes to the store
``given``        what delivery gives the store
``pulse``        what the store is to be told
``running``      what of a running transaction is stored, and what isn't yet
``chosen_audio``  which recordings stay when their conversation is over
``outage``       a store that can't be written to
``recovered``    a conversation whose process is gone
``processor``    makes envelopes of the messages
``tail``         decides when conversations end which of them are sent
``dispatch``     the copy for the store, the rule, the queue
``inbox``        what the delivery thread is told
``flushes``      those who wait for delivery
``content``      the rule for what may be sent of what people said
``redaction``    knows what was said, and finds it in what is to be sent
``send_queue``   envelopes that wait for Sentry, in order of worth: paced, tried again
``asking``       what may be asked of the store, and when
``waiting``      an envelope that waits, and what it is worth
``kinds``        tells the first error of a kind from its repeats
``sender``       one request to Sentry, and what came of it
``refusals``     Sentry that doesn't take what it is sent, as the log tells it
``connections``  by which proxy and with which certificates
``client``       Sentry's client, which asks an error where it comes from
``frames``       a traceback's, which may still run in another thread
``logs``         takes what the application logs
``loguru_tap``   takes what it logs with loguru
``log_events``   makes errors and structured logs of it
``account``      says what waits, and what is wrong
``drops``        counts what is dropped, by reason
``hooks``        the operator's hooks, as delivery calls them
``side_car``     copies for Spotlight
``collector_lane``  copies for a collector of OpenTelemetry's
``ignored_loggers``  the loggers that Sentry is told to ignore
``unobserved``   keeps delivery's own work out of what is recorded
===============  =============================================================================
"""

from __future__ import annotations
