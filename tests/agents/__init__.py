"""Six small LiveKit agents of different kinds, each traced with the README's two lines.

===================  ===========================================================================
``push_to_talk``     the caller's app says when they speak
``many_agents``      a waiter and a cashier, who hand the caller over to each other
``background_task``  goes on talking while the kitchen cooks, and says when it is done
``realtime``         one model hears and speaks by itself
``text_only``        no voice: the caller types, and reads
``transfer``         asks a colleague in another room before it puts the caller through
``models``           their models, which need neither a network nor a key: yours replace them
===================  ===========================================================================

Each is a program: ``python -m tests.agents.text_only dev`` takes calls at the LiveKit server that
``LIVEKIT_URL``, ``LIVEKIT_API_KEY`` and ``LIVEKIT_API_SECRET`` name.
``tests/system/test_agents.py`` calls each, with a thread and with a process for each job.
"""
